#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// x [..., K] · weightᵀ, weight [N, K]: [..., N] in x's type; the weight is cast to it.
/// Differentiable. In fp32 on a CPU a row of the result does not depend on how many rows there are.
at::Tensor linear_map(const at::Tensor& x, const at::Tensor& weight_NK);

namespace reference {
at::Tensor linear_map(const at::Tensor& x, const at::Tensor& weight_NK);
}

}  // namespace switchyard
