#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// values_TE at the chosen experts, 0 where the id is −1. Differentiable in values_TE.
at::Tensor gather_chosen(const at::Tensor& values_TE, const at::Tensor& expert_ids_TK);

/// The marked experts of each token by falling key, ties to the lower expert, padded with −1 to as
/// many columns as any token has marks, at least one. keys_TE is fp32 or fp64, marked_TE bool.
at::Tensor order_marked(const at::Tensor& keys_TE, const at::Tensor& marked_TE);

}  // namespace switchyard
