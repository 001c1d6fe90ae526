#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// The hand-written kernels serve fp32 and fp64 on a CPU; all else takes the plain ATen form.
inline bool has_fast_path(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

}  // namespace switchyard
