#pragma once

#include <ATen/core/Tensor.h>

#include "core/base/counter_rng.h"
#include "core/moe/records.h"

namespace switchyard {

/// Uniform numbers [num_tokens, elements] at (seed, stream, step, layer, global token, element), in
/// [0, 1): the same for a token whatever rank holds it.
at::Tensor draw(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                int64_t elements, const at::TensorOptions& options);

}  // namespace switchyard
