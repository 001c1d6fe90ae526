#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// cos and sin of position × theta^(−2i/C), [positions, C/2]: the angles of rotary embeddings
/// (Su et al. 2021) for heads of width C.
struct RotaryTables {
  at::Tensor cos_LC, sin_LC;
};

/// Formed in fp64, stored in `dtype` (fp32 or fp64).
RotaryTables make_rotary_tables(int64_t positions, int64_t head_dim, double theta,
                                at::ScalarType dtype);

/// Turns x_BLHC by the angles of positions 0..L−1, in at least the tables' precision. Pairs are
/// (i, i + C/2), or (2i, 2i + 1) when interleaved. L is at most the tables' length. Differentiable.
at::Tensor apply_rotary(const at::Tensor& x_BLHC, const RotaryTables& tables, bool interleaved);

namespace reference {
at::Tensor apply_rotary(const at::Tensor& x_BLHC, const RotaryTables& tables, bool interleaved);
}

}  // namespace switchyard
