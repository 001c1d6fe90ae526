#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// The k-th largest value (1 = the largest) of each column of the rows of `blocks` on all ranks
/// together: [E], on the CPU. Exact for any number of ranks: a radix selection over the bits, which
/// all-reduces [E, 256] counts per byte of the type, so that no row travels. `blocks`: at least one
/// [T, E], fp32 or fp64, T may be 0; 1 ≤ k ≤ rows over all ranks. Collective (nullptr = alone).
at::Tensor column_kth_largest(const std::vector<at::Tensor>& blocks, int64_t k,
                              Communicator* communicator);

}  // namespace switchyard
