#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// RMSNorm (Zhang & Sennrich 2019) over the last dim: x / sqrt(mean(x²) + eps) ⊙ weight. x [..., D]
/// in any float type, weight [D]; computed in at least fp32, returned in x's type. Differentiable;
/// the weight's gradient is summed in an order that depends on the shape alone.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D, double eps);

namespace reference {
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D, double eps);
}

}  // namespace switchyard
