#include <ATen/ATen.h>

#include "core/kernels/causal_attention.h"

namespace switchyard::reference {

at::Tensor causal_attention(const at::Tensor& q_BLHC, const at::Tensor& k_BLGC,
                            const at::Tensor& v_BLGC) {
  return at::scaled_dot_product_attention(
             q_BLHC.transpose(1, 2), k_BLGC.transpose(1, 2), v_BLGC.transpose(1, 2),
             /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0, /*is_causal=*/true,
             /*scale=*/std::nullopt, /*enable_gqa=*/q_BLHC.size(2) != k_BLGC.size(2))
      .transpose(1, 2);
}

}  // namespace switchyard::reference
