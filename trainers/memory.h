#pragma once

#include <c10/core/Device.h>

#include "core/base/communicator.h"

namespace switchyard {

/// Peak resident set of this process so far, in bytes.
double peak_memory();
/// Collective. The largest of all ranks.
double peak_memory_of_largest_rank(Communicator& world);
/// Collective. The most bytes that tensors held on a rank's GPU at once, of the rank with the most.
double peak_gpu_memory_of_largest_rank(Communicator& world, c10::Device device);

}  // namespace switchyard
