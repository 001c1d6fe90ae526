#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/nn/rotary_cache.h"

namespace switchyard {

struct AttentionOptions {
  int64_t hidden_dim = 128;
  int64_t num_heads = 4;
  int64_t num_kv_heads = 4;  ///< divides num_heads; query heads share them in consecutive groups
  int64_t head_dim = 32;
  RopeOptions rope;
  bool bias = false;               ///< of queries, keys and values (Qwen2)
  std::optional<double> clip_qkv;  ///< their bound, after the norms (OLMoE)
  std::string qk_norm =
      "none";  ///< none | head (one weight per head coordinate) | full (all heads)
  double norm_eps = 1e-5;
};

/// Causal self-attention with grouped queries (Ainslie et al. 2023) and rotary positions
/// 0..L−1. Computed in x's type. Parameters `q_proj` [H·C, D], `k_proj` and `v_proj` [G·C, D],
/// `o_proj` [D, H·C], zero until the owner fills them; with bias `q_bias`, `k_bias`, `v_bias`,
/// zeros; with qk_norm `q_norm`, `k_norm`, ones.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(AttentionOptions options);
  /// L is at most rope.max_seq_len.
  at::Tensor forward(const at::Tensor& x_BLD);

  at::Tensor q_proj, k_proj, v_proj, o_proj, q_bias, k_bias, v_bias, q_norm, k_norm;

 private:
  at::Tensor heads(const at::Tensor& x_BLD, const at::Tensor& projection,
                   const at::Tensor& bias) const;
  at::Tensor normed(const at::Tensor& x_BLHC, const at::Tensor& weight) const;
  at::Tensor clipped(const at::Tensor& x) const;

  AttentionOptions options_;
  RotaryCache rotary_;
};
TORCH_MODULE(Attention);

}  // namespace switchyard
