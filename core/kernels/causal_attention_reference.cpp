#include <ATen/ATen.h>

#include "core/kernels/causal_attention.h"

namespace switchyard::reference {

// Some of a GPU's kernels refuse an empty batch, or rows that are not aligned.
at::Tensor causal_attention(const at::Tensor& q_BLHC, const at::Tensor& k_BLGC,
                            const at::Tensor& v_BLGC) {
  if (q_BLHC.numel() == 0) return q_BLHC.clone();
  const auto heads_first = [](const at::Tensor& x) { return x.contiguous().transpose(1, 2); };
  return at::scaled_dot_product_attention(
             heads_first(q_BLHC), heads_first(k_BLGC), heads_first(v_BLGC),
             /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0, /*is_causal=*/true,
             /*scale=*/std::nullopt, /*enable_gqa=*/q_BLHC.size(2) != k_BLGC.size(2))
      .transpose(1, 2);
}

}  // namespace switchyard::reference
