#include <ATen/ATen.h>

#include "core/kernels/rms_norm.h"

namespace switchyard::reference {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D, double eps) {
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor input = x.to(wide);
  const at::Tensor scale = at::rsqrt(input.square().mean(-1, /*keepdim=*/true) + eps);
  return (input * scale * weight_D.to(wide)).to(x.scalar_type());
}

}  // namespace switchyard::reference
