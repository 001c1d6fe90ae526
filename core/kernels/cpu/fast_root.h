#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/kernels/cpu/clones.h"

namespace switchyard {

/// √x for x ≥ 0 without errno, so that loops over it vectorise; within 1 unit in the last place for
/// normal x. 1/√x from the exponent's half (Lomont 2003) by Newton's method, then a correction of
/// √x.
SWITCHYARD_INLINE float fast_root(float x) {
  float y = std::bit_cast<float>(0x5f375a86u - (std::bit_cast<uint32_t>(x) >> 1));
  const float half = 0.5f * x;
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  const float root = x * y;
  return root + 0.5f * y * (x - root * root);
}

SWITCHYARD_INLINE double fast_root(double x) {
  return std::sqrt(x);
}

}  // namespace switchyard
