#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// Straight-through Gumbel top-k (Jang 2017, section 2.2): top-k of z = (logits + G)/temperature
/// with Gumbel noise G from stream 6 in training, none in evaluation. The weights are p at the
/// kept, divided by their sum for K > 1; their gradient is that of softmax(z) at the kept.
std::unique_ptr<Router> make_gumbel_router(int64_t num_experts, int64_t top_k, double temperature);

}  // namespace switchyard
