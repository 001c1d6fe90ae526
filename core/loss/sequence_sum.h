#pragma once

#include <ATen/core/Tensor.h>

#include "core/moe/balance_term.h"
#include "core/moe/records.h"

namespace switchyard {

/// Sums of values_TW over the tokens of each local sequence: [S, W] in fp64, differentiable.
at::Tensor sum_per_sequence(const at::Tensor& values_TW, const RoutingContext& context);

/// Tokens of the micro-batch that the sums of all sequences are over; at least 1.
double tokens_of(const at::Tensor& sums_NW, const TermContext& context);

}  // namespace switchyard
