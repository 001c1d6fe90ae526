#include "core/nn/latent_attention.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

LatentAttentionOptions small_options() {
  LatentAttentionOptions options;
  options.hidden_dim = 12;
  options.num_heads = 3;
  options.q_lora_rank = 5;
  options.kv_lora_rank = 7;
  options.qk_nope_head_dim = 4;
  options.qk_rope_head_dim = 6;
  options.v_head_dim = 8;
  options.rope.max_seq_len = 32;
  return options;
}

LatentAttention make_attention(const LatentAttentionOptions& options,
                               at::ScalarType dtype = at::kDouble) {
  torch::manual_seed(2);
  LatentAttention attention(options);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : attention->parameters()) parameter.normal_(0, 0.4);
  attention->to(dtype);
  return attention;
}

at::Tensor normed(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x * at::rsqrt(x.pow(2).mean(-1, true) + eps) * weight;
}

// Turns the pair (a, b) of position i and frequency j by i · theta^(−2j/P), element by element.
at::Tensor rotated(const at::Tensor& x_LP, const LatentAttentionOptions& o) {
  const int64_t P = x_LP.size(1);
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < x_LP.size(0); ++i) {
    std::vector<at::Tensor> out(static_cast<size_t>(P));
    for (int64_t j = 0; j < P / 2; ++j) {
      const double angle =
          static_cast<double>(i) *
          std::pow(o.rope.theta, -2.0 * static_cast<double>(j) / static_cast<double>(P));
      const int64_t a = o.rope.interleaved ? 2 * j : j;
      const int64_t b = o.rope.interleaved ? 2 * j + 1 : j + P / 2;
      const at::Tensor xa = x_LP[i][a], xb = x_LP[i][b];
      out[static_cast<size_t>(a)] = xa * std::cos(angle) - xb * std::sin(angle);
      out[static_cast<size_t>(b)] = xb * std::cos(angle) + xa * std::sin(angle);
    }
    rows.push_back(at::stack(out));
  }
  return at::stack(rows);
}

// One sequence, one head, one position at a time, from equations 9 to 19 of the DeepSeek-V2 paper.
at::Tensor by_hand(LatentAttention& m, const LatentAttentionOptions& o, const at::Tensor& x_BLD) {
  const int64_t N = o.qk_nope_head_dim, P = o.qk_rope_head_dim, V = o.v_head_dim;
  std::vector<at::Tensor> sequences;
  for (int64_t b = 0; b < x_BLD.size(0); ++b) {
    const at::Tensor x = x_BLD[b];
    const at::Tensor q_all =
        o.q_lora_rank
            ? at::matmul(normed(at::matmul(x, m->q_a_proj.t()), m->q_a_norm->weight, o.norm_eps),
                         m->q_b_proj.t())
            : at::matmul(x, m->q_proj.t());
    const at::Tensor latent = at::matmul(x, m->kv_a_proj.t());
    const at::Tensor kv_all =
        at::matmul(normed(latent.narrow(1, 0, o.kv_lora_rank), m->kv_a_norm->weight, o.norm_eps),
                   m->kv_b_proj.t());
    const at::Tensor k_rope = rotated(latent.narrow(1, o.kv_lora_rank, P), o);
    std::vector<at::Tensor> heads;
    for (int64_t h = 0; h < o.num_heads; ++h) {
      const at::Tensor q = q_all.narrow(1, h * (N + P), N + P);
      const at::Tensor q_rope = rotated(q.narrow(1, N, P), o);
      const at::Tensor k = kv_all.narrow(1, h * (N + V), N);
      const at::Tensor v = kv_all.narrow(1, h * (N + V) + N, V);
      std::vector<at::Tensor> rows;
      for (int64_t i = 0; i < x.size(0); ++i) {
        std::vector<at::Tensor> scores;
        for (int64_t j = 0; j <= i; ++j)
          scores.push_back(((q[i].narrow(0, 0, N) * k[j]).sum() + (q_rope[i] * k_rope[j]).sum()) /
                           std::sqrt(static_cast<double>(N + P)));
        const at::Tensor weights = at::softmax(at::stack(scores), 0);
        rows.push_back((weights.unsqueeze(1) * v.narrow(0, 0, i + 1)).sum(0));
      }
      heads.push_back(at::stack(rows));
    }
    sequences.push_back(at::matmul(at::cat(heads, -1), m->o_proj.t()));
  }
  return at::stack(sequences);
}

TEST_CASE("Latent attention is the paper's equations, value and gradient") {
  LatentAttentionOptions options = small_options();
  if (GENERATE(false, true)) options.q_lora_rank.reset();
  options.rope.interleaved = GENERATE(false, true);
  options.v_head_dim = GENERATE(8, 10, 13);  // narrower, as wide, and wider than a key
  LatentAttention attention = make_attention(options);
  const at::Tensor x = torch::randn({2, 6, 12}, torch::kDouble);
  CHECK(test::disagreement([&](const auto& in) { return attention(in[0]); },
                           [&](const auto& in) { return by_hand(attention, options, in[0]); },
                           {x}) < 1e-12);
  at::Tensor out = attention(x);
  out.sum().backward();
  for (const auto& item : attention->named_parameters()) {
    INFO(item.key());
    CHECK(item.value().grad().abs().max().item<double>() > 1e-6);
  }
}

TEST_CASE("Latent attention holds the parameters of its shape") {
  LatentAttention attention(small_options());
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& item : attention->named_parameters())
    shapes[item.key()] = item.value().sizes().vec();
  CHECK((shapes == std::map<std::string, std::vector<int64_t>>{{"q_a_proj", {5, 12}},
                                                               {"q_a_norm.weight", {5}},
                                                               {"q_b_proj", {30, 5}},
                                                               {"kv_a_proj", {13, 12}},
                                                               {"kv_a_norm.weight", {7}},
                                                               {"kv_b_proj", {36, 7}},
                                                               {"o_proj", {12, 24}}}));
}

TEST_CASE("Latent attention computes in the type of its input, and takes an empty batch") {
  LatentAttention attention = make_attention(small_options(), at::kFloat);
  const at::Tensor x = torch::randn({2, 9, 12});
  const at::Tensor wide = attention(x), narrow = attention(x.to(at::kBFloat16));
  CHECK(narrow.scalar_type() == at::kBFloat16);
  CHECK(test::difference(wide, narrow) < 0.1 * wide.abs().max().item<double>());
  CHECK(attention(torch::zeros({0, 9, 12})).sizes() == at::IntArrayRef({0, 9, 12}));
}

}  // namespace
}  // namespace switchyard
