#include "core/nn/attention.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/kernels/rms_norm.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

AttentionOptions small_options() {
  AttentionOptions options;
  options.hidden_dim = 12;
  options.num_heads = 4;
  options.num_kv_heads = 2;
  options.head_dim = 6;
  options.rope.max_seq_len = 32;
  return options;
}

Attention make_attention(const AttentionOptions& options, at::ScalarType dtype = at::kDouble) {
  torch::manual_seed(2);
  Attention attention(options);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : attention->parameters()) parameter.normal_(0, 0.4);
  attention->to(dtype);
  return attention;
}

// Softmax over earlier positions, head by head, with keys repeated for their group of queries.
at::Tensor by_hand(Attention& attention, const AttentionOptions& options, const at::Tensor& x) {
  const int64_t B = x.size(0), L = x.size(1), C = options.head_dim;
  const auto heads = [&](const at::Tensor& weight, const at::Tensor& bias, int64_t count) {
    const at::Tensor y = at::matmul(x, weight.t());
    return (bias.defined() ? y + bias : y).view({B, L, count, C});
  };
  const auto clip = [&](const at::Tensor& h) {
    if (!options.clip_qkv) return h;
    const at::Tensor bound = at::full({}, *options.clip_qkv, h.options());
    return at::maximum(at::minimum(h, bound), -bound);
  };
  const auto norm = [&](const at::Tensor& h, const at::Tensor& weight) {
    if (!weight.defined()) return h;
    if (options.qk_norm == "head") return reference::rms_norm(h, weight, options.norm_eps);
    return reference::rms_norm(h.flatten(2), weight, options.norm_eps).view(h.sizes());
  };
  const RotaryTables tables = make_rotary_tables(L, rope_frequencies(options.rope, C),
                                                 rope_amplitude(options.rope.scaling), at::kDouble);
  const auto turn = [&](const at::Tensor& h) {
    return reference::apply_rotary(h, tables, options.rope.interleaved);
  };
  const int64_t G = options.num_kv_heads;
  const at::Tensor q = turn(clip(
      norm(heads(attention->q_proj, attention->q_bias, options.num_heads), attention->q_norm)));
  const at::Tensor k =
      turn(clip(norm(heads(attention->k_proj, attention->k_bias, G), attention->k_norm)));
  const at::Tensor v = clip(heads(attention->v_proj, attention->v_bias, G));
  const int64_t group = options.num_heads / options.num_kv_heads;
  const at::Tensor later = at::ones({L, L}, at::kBool).triu(1);
  std::vector<at::Tensor> outputs;
  for (int64_t h = 0; h < options.num_heads; ++h) {
    const at::Tensor scores = at::matmul(q.select(2, h), k.select(2, h / group).transpose(1, 2)) /
                              std::sqrt(static_cast<double>(C));
    outputs.push_back(
        at::matmul(at::softmax(scores.masked_fill(later, -INFINITY), -1), v.select(2, h / group)));
  }
  return at::matmul(at::cat(outputs, -1), attention->o_proj.t());
}

TEST_CASE("Attention is grouped causal attention with rotary positions") {
  AttentionOptions options = small_options();
  options.qk_norm = GENERATE("none", "head", "full");
  options.num_kv_heads = GENERATE(1, 2, 4);
  options.rope.interleaved = GENERATE(false, true);
  const int64_t L = GENERATE(1, 13);
  Attention attention = make_attention(options);
  const at::Tensor x = torch::randn({3, L, 12}, torch::kDouble);
  CHECK(test::disagreement([&](const auto& in) { return attention(in[0]); },
                           [&](const auto& in) { return by_hand(attention, options, in[0]); },
                           {x}) < 1e-12);
}

TEST_CASE("Attention adds biases to queries, keys and values, and clips them after the norm") {
  AttentionOptions options = small_options();
  options.bias = GENERATE(false, true);
  options.qk_norm = GENERATE("none", "full");
  options.clip_qkv = 0.3;
  Attention attention = make_attention(options);
  CHECK(attention->parameters().size() ==
        4u + (options.bias ? 3u : 0u) + (options.qk_norm == "full" ? 2u : 0u));
  const at::Tensor x = torch::randn({2, 7, 12}, torch::kDouble);
  CHECK(test::disagreement([&](const auto& in) { return attention(in[0]); },
                           [&](const auto& in) { return by_hand(attention, options, in[0]); },
                           {x}) < 1e-12);
  options.clip_qkv = std::nullopt;
  CHECK(test::difference(attention(x), by_hand(attention, options, x)) > 1e-2);
}

TEST_CASE("Attention lets no position see a later one") {
  Attention attention = make_attention(small_options());
  const at::Tensor x = torch::randn({2, 9, 12}, torch::kDouble);
  at::Tensor changed = x.clone();
  changed.narrow(1, 5, 4).normal_();
  const at::Tensor a = attention(x), b = attention(changed);
  CHECK(test::difference(a.narrow(1, 0, 5), b.narrow(1, 0, 5)) < 1e-13);
  CHECK(test::difference(a.narrow(1, 5, 4), b.narrow(1, 5, 4)) > 1e-3);
}

TEST_CASE("Attention computes in the type of its input") {
  Attention attention = make_attention(small_options(), at::kFloat);
  const at::Tensor x = torch::randn({2, 9, 12});
  const at::Tensor wide = attention(x), narrow = attention(x.to(at::kBFloat16));
  CHECK(narrow.scalar_type() == at::kBFloat16);
  CHECK(test::difference(wide, narrow) < 0.1 * wide.abs().max().item<double>());
  CHECK(test::difference(attention(x), wide) == 0);
}

TEST_CASE("Attention takes a batch without sequences") {
  Attention attention = make_attention(small_options());
  const at::Tensor x = torch::zeros({0, 9, 12}, torch::kDouble).requires_grad_();
  const at::Tensor y = attention(x);
  CHECK(y.sizes() == x.sizes());
  y.sum().backward();
  CHECK(x.grad().sizes() == x.sizes());
}

}  // namespace
}  // namespace switchyard
