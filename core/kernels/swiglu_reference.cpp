#include <ATen/ATen.h>

#include "core/kernels/swiglu.h"

namespace switchyard::reference {

at::Tensor swiglu(const at::Tensor& gate_up) {
  const std::vector<at::Tensor> halves = gate_up.chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

}  // namespace switchyard::reference
