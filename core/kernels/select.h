#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// ids_TK (int64): in each row of keys_TE (fp32 or fp64) the indices of the k largest keys, by
/// falling key; equal keys by rising index. −inf is a key like any other; NaN counts as −inf. 0 ≤ k
/// ≤ E.
at::Tensor select_top_k(const at::Tensor& keys_TE, int64_t k);

namespace reference {
at::Tensor select_top_k(const at::Tensor& keys_TE, int64_t k);
}

}  // namespace switchyard
