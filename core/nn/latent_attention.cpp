#include "core/nn/latent_attention.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/kernels/causal_attention.h"
#include "core/kernels/linear_map.h"

namespace switchyard {
namespace {

at::Tensor widened(const at::Tensor& x, int64_t width) {
  return x.size(-1) == width ? x : at::constant_pad_nd(x, {0, width - x.size(-1)});
}

// The operation takes keys and values of one width and scales by it: the narrower get zeros.
at::Tensor attend(const at::Tensor& q_BLHC, const at::Tensor& k_BLHC, const at::Tensor& v_BLHV,
                  double score_scale) {
  const int64_t C = q_BLHC.size(-1), V = v_BLHV.size(-1), width = std::max(C, V);
  at::Tensor q = widened(q_BLHC, width);
  const double scale = score_scale * std::sqrt(static_cast<double>(width) / static_cast<double>(C));
  if (scale != 1) q = q * scale;
  return causal_attention(q, widened(k_BLHC, width), widened(v_BLHV, width)).narrow(-1, 0, V);
}

}  // namespace

LatentAttentionImpl::LatentAttentionImpl(const LatentAttentionOptions& options)
    : options_(options), rotary_(options.rope, options.qk_rope_head_dim) {
  const LatentAttentionOptions& o = options_;
  SWITCHYARD_CHECK(o.qk_rope_head_dim % 2 == 0, "rotated width {}", o.qk_rope_head_dim);
  const int64_t query = o.num_heads * (o.qk_nope_head_dim + o.qk_rope_head_dim);
  const auto matrix = [this](const char* name, int64_t rows, int64_t columns) {
    return register_parameter(name, torch::zeros({rows, columns}));
  };
  if (o.q_lora_rank) {
    q_a_proj = matrix("q_a_proj", *o.q_lora_rank, o.hidden_dim);
    q_a_norm = register_module("q_a_norm", RMSNorm(*o.q_lora_rank, o.norm_eps));
    q_b_proj = matrix("q_b_proj", query, *o.q_lora_rank);
  } else {
    q_proj = matrix("q_proj", query, o.hidden_dim);
  }
  kv_a_proj = matrix("kv_a_proj", o.kv_lora_rank + o.qk_rope_head_dim, o.hidden_dim);
  kv_a_norm = register_module("kv_a_norm", RMSNorm(o.kv_lora_rank, o.norm_eps));
  kv_b_proj =
      matrix("kv_b_proj", o.num_heads * (o.qk_nope_head_dim + o.v_head_dim), o.kv_lora_rank);
  o_proj = matrix("o_proj", o.hidden_dim, o.num_heads * o.v_head_dim);
}

at::Tensor LatentAttentionImpl::queries(const at::Tensor& x_BLD) {
  const at::Tensor q_BLN =
      q_proj.defined() ? linear_map(x_BLD, q_proj)
                       : linear_map(q_a_norm->forward(linear_map(x_BLD, q_a_proj)), q_b_proj);
  return q_BLN.unflatten(-1, {options_.num_heads, -1});
}

at::Tensor LatentAttentionImpl::forward(const at::Tensor& x_BLD) {
  const LatentAttentionOptions& o = options_;
  const RotaryTables& tables = rotary_.tables_for(x_BLD);
  const auto turned = [&](const at::Tensor& x_BLHP) {
    return apply_rotary(x_BLHP.contiguous(), tables, o.rope.interleaved);
  };
  const auto q = queries(x_BLD).split_with_sizes({o.qk_nope_head_dim, o.qk_rope_head_dim}, -1);
  const auto latent =
      linear_map(x_BLD, kv_a_proj).split_with_sizes({o.kv_lora_rank, o.qk_rope_head_dim}, -1);
  const auto kv = linear_map(kv_a_norm->forward(latent[0].contiguous()), kv_b_proj)
                      .unflatten(-1, {o.num_heads, -1})
                      .split_with_sizes({o.qk_nope_head_dim, o.v_head_dim}, -1);
  const at::Tensor shared_BL1P = turned(latent[1].unsqueeze(2));
  const at::Tensor k_BLHC = at::cat({kv[0], shared_BL1P.expand({-1, -1, o.num_heads, -1})}, -1);
  const at::Tensor y_BLHV =
      attend(at::cat({q[0], turned(q[1])}, -1), k_BLHC, kv[1], latent_score_scale(o.rope.scaling));
  return linear_map(y_BLHV.flatten(2), o_proj);
}

}  // namespace switchyard
