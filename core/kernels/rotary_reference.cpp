#include <ATen/ATen.h>

#include "core/kernels/rotary.h"

namespace switchyard {

at::Tensor rotary_frequencies(int64_t head_dim, double theta) {
  const auto wide = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor exponents = at::arange(0, head_dim, 2, wide) / static_cast<double>(head_dim);
  return at::pow(at::full({}, theta, wide), -exponents);
}

RotaryTables make_rotary_tables(int64_t positions, const at::Tensor& frequencies_C,
                                double amplitude, at::ScalarType dtype) {
  const at::Tensor angles_LC =
      at::outer(at::arange(0, positions, frequencies_C.options()), frequencies_C);
  return {(angles_LC.cos() * amplitude).to(dtype), (angles_LC.sin() * amplitude).to(dtype)};
}

namespace reference {

at::Tensor apply_rotary(const at::Tensor& x_BLHC, const RotaryTables& tables, bool interleaved) {
  const int64_t L = x_BLHC.size(1), half = x_BLHC.size(3) / 2;
  const at::Tensor cos_L1C = tables.cos_LC.narrow(0, 0, L).unsqueeze(1);
  const at::Tensor sin_L1C = tables.sin_LC.narrow(0, 0, L).unsqueeze(1);
  const at::Tensor pairs = interleaved ? x_BLHC.unflatten(-1, {half, 2})
                                       : x_BLHC.unflatten(-1, {2, half}).transpose(-1, -2);
  const at::Tensor a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  const at::Tensor turned_a = a * cos_L1C - b * sin_L1C, turned_b = b * cos_L1C + a * sin_L1C;
  const at::Tensor turned = interleaved ? at::stack({turned_a, turned_b}, -1).flatten(-2)
                                        : at::cat({turned_a, turned_b}, -1);
  return turned.to(x_BLHC.scalar_type());
}

}  // namespace reference
}  // namespace switchyard
