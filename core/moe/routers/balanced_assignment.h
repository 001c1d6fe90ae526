#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// The expert of each token, int64 [T] on the CPU, that makes Σ scores largest while each expert
/// gets ⌊T/E⌋ or ⌈T/E⌉ tokens. Exact up to rounding in fp64: tokens enter in order along shortest
/// augmenting paths over the experts (Jonker & Volgenant 1987). Deterministic. Time O(T·E²) at
/// worst, memory O(T·E). Values that are not finite count as ±1e30.
at::Tensor balanced_assignment(const at::Tensor& scores_TE);

}  // namespace switchyard
