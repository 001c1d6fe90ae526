#pragma once

#include <ATen/core/Tensor.h>

#include "core/base/counter_rng.h"
#include "core/moe/records.h"

namespace switchyard {

/// Uniform numbers [num_tokens, elements] at (seed, stream, step, layer, global token, element), in
/// [0, 1): the same for a token whatever rank holds it.
at::Tensor draw(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                int64_t elements, const at::TensorOptions& options);

/// Standard normal numbers at the same coordinates: the inverse CDF of U + 2⁻⁵⁴, in fp64.
at::Tensor draw_normal(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                       int64_t elements, const at::TensorOptions& options);

/// Standard Gumbel numbers at the same coordinates: −ln(−ln(U + 2⁻⁵⁴)), in fp64.
at::Tensor draw_gumbel(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                       int64_t elements, const at::TensorOptions& options);

}  // namespace switchyard
