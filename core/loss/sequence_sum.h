#pragma once

#include <ATen/core/Tensor.h>

#include "core/moe/records.h"

namespace switchyard {

/// Sums of values_TW over the tokens of each local sequence: [S, W] in fp64, differentiable.
at::Tensor sum_per_sequence(const at::Tensor& values_TW, const RoutingContext& context);

}  // namespace switchyard
