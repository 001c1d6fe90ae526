#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// output = parts[0] op parts[1] op ..., from left to right, element by element: the order of
/// summation of every backend. bfloat16 is summed in float32 and rounded once. `parts` have as many
/// elements as `output`, which may be one of them. Local.
void reduce_in_order(at::Tensor output, const std::vector<at::Tensor>& parts, ReduceOp op);

}  // namespace switchyard
