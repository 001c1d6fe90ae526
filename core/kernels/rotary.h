#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// Angles per position of the pairs of a head of width C: theta^(−2i/C), fp64 [C/2] (Su et al.
/// 2021).
at::Tensor rotary_frequencies(int64_t head_dim, double theta);

/// Cosine and sine of position × frequency, times an amplitude, [positions, C/2].
struct RotaryTables {
  at::Tensor cos_LC, sin_LC;
};

/// Formed in fp64, stored in `dtype` (fp32 or fp64).
RotaryTables make_rotary_tables(int64_t positions, const at::Tensor& frequencies_C,
                                double amplitude, at::ScalarType dtype);

/// Turns x_BLHC by the angles of positions 0..L−1, in at least the tables' precision. Pairs are
/// (i, i + C/2), or (2i, 2i + 1) when interleaved. L is at most the tables' length. Differentiable.
at::Tensor apply_rotary(const at::Tensor& x_BLHC, const RotaryTables& tables, bool interleaved);

namespace reference {
at::Tensor apply_rotary(const at::Tensor& x_BLHC, const RotaryTables& tables, bool interleaved);
}

}  // namespace switchyard
