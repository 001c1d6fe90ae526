#pragma once

#include "core/base/communicator.h"

namespace switchyard {

/// Peak resident set of this process so far, in bytes.
double peak_memory();
/// Collective. The largest of all ranks.
double peak_memory_of_largest_rank(Communicator& world);

}  // namespace switchyard
