#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// Scaled dot-product attention in which position i sees positions 0..i: q_BLHC, keys and values
/// [B, L, G, C]; query head h reads key head h / (H / G). Returns [B, L, H, C]. Differentiable; the
/// backward pass forms the probabilities again from each row's log-sum-exp (Dao et al. 2022).
at::Tensor causal_attention(const at::Tensor& q_BLHC, const at::Tensor& k_BLGC,
                            const at::Tensor& v_BLGC);

namespace reference {
at::Tensor causal_attention(const at::Tensor& q_BLHC, const at::Tensor& k_BLGC,
                            const at::Tensor& v_BLGC);
}

}  // namespace switchyard
