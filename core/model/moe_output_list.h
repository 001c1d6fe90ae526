#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "core/moe/balance_term.h"

namespace switchyard {

/// Appends what the loss and the metrics need of `output` to a list of tensors, the form in which a
/// recomputed block returns it: the terms and the router logits keep their gradient, the rest of
/// the decision is detached. Undefined tensors are allowed (a hash router has no logits) and come
/// back undefined.
void append_to_list(const MoEOutput& output, std::vector<at::Tensor>& list);

/// The inverse, starting at list[first].
MoEOutput from_list(const std::vector<at::Tensor>& list, size_t first, size_t num_terms);

}  // namespace switchyard
