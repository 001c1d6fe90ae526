#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <optional>

#include "core/nn/rms_norm.h"
#include "core/nn/rotary_cache.h"

namespace switchyard {

struct LatentAttentionOptions {
  int64_t hidden_dim = 128;
  int64_t num_heads = 4;
  std::optional<int64_t> q_lora_rank;  ///< width of the queries' latent; none = one matrix
  int64_t kv_lora_rank = 64;           ///< width of the latent of keys and values
  int64_t qk_nope_head_dim = 32;       ///< part of a query and key without position
  int64_t qk_rope_head_dim = 16;       ///< rotated part; even; all heads share the keys' one
  int64_t v_head_dim = 32;
  RopeOptions rope;
  double norm_eps = 1e-5;  ///< of the latents' norms
};

/// Causal multi-head latent attention (DeepSeek-V2, section 2.1): keys and values come from a
/// narrow normed latent, positions from a rotated part beside it; scores are scaled by
/// (N + P)^(−1/2) and by latent_score_scale(). Computed in x's type. With ranks Q and R, heads H
/// and widths N (nope), P (rope), V the parameters are `q_a_proj` [Q, D], `q_a_norm.weight` [Q],
/// `q_b_proj` [H·(N+P), Q] (or, without Q, `q_proj` [H·(N+P), D]), `kv_a_proj` [R+P, D],
/// `kv_a_norm.weight` [R], `kv_b_proj` [H·(N+V), R] and `o_proj` [D, H·V]: matrices zero until the
/// owner fills them, norms ones.
class LatentAttentionImpl : public torch::nn::Module {
 public:
  explicit LatentAttentionImpl(const LatentAttentionOptions& options);
  /// L is at most rope.max_seq_len.
  at::Tensor forward(const at::Tensor& x_BLD);

  at::Tensor q_proj, q_a_proj, q_b_proj, kv_a_proj, kv_b_proj, o_proj;
  RMSNorm q_a_norm{nullptr}, kv_a_norm{nullptr};

 private:
  at::Tensor queries(const at::Tensor& x_BLD);

  LatentAttentionOptions options_;
  RotaryCache rotary_;
};
TORCH_MODULE(LatentAttention);

}  // namespace switchyard
