#include "core/nn/attention.h"

#include "core/base/error.h"
#include "core/kernels/causal_attention.h"
#include "core/kernels/linear_map.h"
#include "core/kernels/rms_norm.h"

namespace switchyard {

AttentionImpl::AttentionImpl(AttentionOptions options)
    : options_(std::move(options)), rotary_(options_.rope, options_.head_dim) {
  const AttentionOptions& o = options_;
  SWITCHYARD_CHECK(o.num_kv_heads > 0 && o.num_heads % o.num_kv_heads == 0 && o.head_dim % 2 == 0,
                   "{} heads on {}, width {}", o.num_heads, o.num_kv_heads, o.head_dim);
  const int64_t query = o.num_heads * o.head_dim, key = o.num_kv_heads * o.head_dim;
  q_proj = register_parameter("q_proj", torch::zeros({query, o.hidden_dim}));
  k_proj = register_parameter("k_proj", torch::zeros({key, o.hidden_dim}));
  v_proj = register_parameter("v_proj", torch::zeros({key, o.hidden_dim}));
  o_proj = register_parameter("o_proj", torch::zeros({o.hidden_dim, query}));
  if (o.bias) {
    q_bias = register_parameter("q_bias", torch::zeros({query}));
    k_bias = register_parameter("k_bias", torch::zeros({key}));
    v_bias = register_parameter("v_bias", torch::zeros({key}));
  }
  if (o.qk_norm == "none") return;
  const bool full = o.qk_norm == "full";
  SWITCHYARD_CHECK(full || o.qk_norm == "head", "qk_norm {}", o.qk_norm);
  q_norm = register_parameter("q_norm", torch::ones({full ? query : o.head_dim}));
  k_norm = register_parameter("k_norm", torch::ones({full ? key : o.head_dim}));
}

at::Tensor AttentionImpl::heads(const at::Tensor& x_BLD, const at::Tensor& projection,
                                const at::Tensor& bias) const {
  at::Tensor y_BLN = linear_map(x_BLD, projection);
  if (bias.defined()) y_BLN = y_BLN + bias.to(y_BLN.scalar_type());
  return y_BLN.unflatten(-1, {-1, options_.head_dim});
}

at::Tensor AttentionImpl::normed(const at::Tensor& x_BLHC, const at::Tensor& weight) const {
  if (!weight.defined()) return x_BLHC;
  if (options_.qk_norm == "head") return rms_norm(x_BLHC, weight, options_.norm_eps);
  return rms_norm(x_BLHC.flatten(2), weight, options_.norm_eps).view(x_BLHC.sizes());
}

at::Tensor AttentionImpl::clipped(const at::Tensor& x) const {
  return options_.clip_qkv ? x.clamp(-*options_.clip_qkv, *options_.clip_qkv) : x;
}

at::Tensor AttentionImpl::forward(const at::Tensor& x_BLD) {
  const bool interleaved = options_.rope.interleaved;
  const RotaryTables& tables = rotary_.tables_for(x_BLD);
  const at::Tensor q_BLHC = clipped(normed(heads(x_BLD, q_proj, q_bias), q_norm));
  const at::Tensor k_BLGC = clipped(normed(heads(x_BLD, k_proj, k_bias), k_norm));
  const at::Tensor v_BLGC = clipped(heads(x_BLD, v_proj, v_bias));
  const at::Tensor y_BLHC = causal_attention(apply_rotary(q_BLHC, tables, interleaved),
                                             apply_rotary(k_BLGC, tables, interleaved), v_BLGC);
  return linear_map(y_BLHC.flatten(2), o_proj);
}

}  // namespace switchyard
