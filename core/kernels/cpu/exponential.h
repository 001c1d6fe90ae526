#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/kernels/cpu/clones.h"

namespace switchyard {

/// e^x without a branch or a table, so that loops over it vectorise; error below 2 units in the
/// last place. Below −87.3 it gives the smallest normal number, above 88.3 the largest power
/// reached there. Cody & Waite 1980: x = n·ln 2 + r with |r| ≤ ln(2)/2, e^r by a polynomial, 2^n by
/// its exponent bits.
SWITCHYARD_INLINE float fast_exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
  x = x < -87.33654f ? -87.33654f : x;
  x = x > 88.37626f ? 88.37626f : x;
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const uint32_t exponent =
      std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound) + 127;
  return p * std::bit_cast<float>(exponent << 23);
}

SWITCHYARD_INLINE double fast_exp(double x) {
  return std::exp(x);
}

template <class T>
SWITCHYARD_INLINE T fast_sigmoid(T x) {
  return T(1) / (T(1) + fast_exp(-x));
}

}  // namespace switchyard
