#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// RoutingDecision::moved: Σ over tokens of the experts in biased_TK that are not in unbiased_TK,
/// an int64 scalar. A token's experts are distinct.
at::Tensor count_moved(const at::Tensor& biased_TK, const at::Tensor& unbiased_TK);

}  // namespace switchyard
