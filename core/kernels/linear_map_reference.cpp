#include <ATen/ATen.h>

#include "core/kernels/linear_map.h"

namespace switchyard::reference {

at::Tensor linear_map(const at::Tensor& x, const at::Tensor& weight_NK) {
  return at::linear(x, weight_NK.to(x.scalar_type()));
}

}  // namespace switchyard::reference
