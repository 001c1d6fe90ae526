#include "core/nn/attention.h"

#include "core/base/error.h"
#include "core/kernels/causal_attention.h"
#include "core/kernels/linear_map.h"
#include "core/kernels/rms_norm.h"

namespace switchyard {

AttentionImpl::AttentionImpl(AttentionOptions options) : options_(std::move(options)) {
  const AttentionOptions& o = options_;
  SWITCHYARD_CHECK(o.num_kv_heads > 0 && o.num_heads % o.num_kv_heads == 0 && o.head_dim % 2 == 0,
                   "{} heads on {}, width {}", o.num_heads, o.num_kv_heads, o.head_dim);
  const int64_t query = o.num_heads * o.head_dim, key = o.num_kv_heads * o.head_dim;
  q_proj = register_parameter("q_proj", torch::zeros({query, o.hidden_dim}));
  k_proj = register_parameter("k_proj", torch::zeros({key, o.hidden_dim}));
  v_proj = register_parameter("v_proj", torch::zeros({key, o.hidden_dim}));
  o_proj = register_parameter("o_proj", torch::zeros({o.hidden_dim, query}));
  if (o.qk_norm == "none") return;
  const bool full = o.qk_norm == "full";
  SWITCHYARD_CHECK(full || o.qk_norm == "head", "qk_norm {}", o.qk_norm);
  q_norm = register_parameter("q_norm", torch::ones({full ? query : o.head_dim}));
  k_norm = register_parameter("k_norm", torch::ones({full ? key : o.head_dim}));
}

const RotaryTables& AttentionImpl::tables_for(const at::Tensor& x) {
  const auto dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor& cosine = tables_.cos_LC;
  if (!cosine.defined() || cosine.scalar_type() != dtype || cosine.device() != x.device()) {
    const RotaryTables made =
        make_rotary_tables(options_.max_seq_len, options_.head_dim, options_.rope_theta, dtype);
    tables_ = {made.cos_LC.to(x.device()), made.sin_LC.to(x.device())};
  }
  return tables_;
}

at::Tensor AttentionImpl::heads(const at::Tensor& x_BLD, const at::Tensor& projection,
                                int64_t num_heads) const {
  return linear_map(x_BLD, projection)
      .view({x_BLD.size(0), x_BLD.size(1), num_heads, options_.head_dim});
}

at::Tensor AttentionImpl::normed(const at::Tensor& x_BLHC, const at::Tensor& weight) const {
  if (!weight.defined()) return x_BLHC;
  if (options_.qk_norm == "head") return rms_norm(x_BLHC, weight, options_.norm_eps);
  return rms_norm(x_BLHC.flatten(2), weight, options_.norm_eps).view(x_BLHC.sizes());
}

at::Tensor AttentionImpl::forward(const at::Tensor& x_BLD) {
  const AttentionOptions& o = options_;
  const RotaryTables& tables = tables_for(x_BLD);
  const at::Tensor q_BLHC =
      apply_rotary(normed(heads(x_BLD, q_proj, o.num_heads), q_norm), tables, o.rope_interleaved);
  const at::Tensor k_BLGC = apply_rotary(normed(heads(x_BLD, k_proj, o.num_kv_heads), k_norm),
                                         tables, o.rope_interleaved);
  const at::Tensor v_BLGC = heads(x_BLD, v_proj, o.num_kv_heads);
  const at::Tensor y_BLHC = causal_attention(q_BLHC, k_BLGC, v_BLGC);
  return linear_map(y_BLHC.flatten(2), o_proj);
}

}  // namespace switchyard
