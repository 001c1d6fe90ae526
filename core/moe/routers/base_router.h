#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// BASE (Lewis 2021, section 3): one expert per token, so that each expert gets ⌊T/E⌋ or ⌈T/E⌉
/// tokens of the micro-batch and the sum of the logits is largest; greedy top-1 in evaluation.
/// Weight σ(logit). Collective where the whole batch is assigned: every rank solves the problem of
/// all, O(T·E²) at worst.
std::unique_ptr<Router> make_base_router(int64_t num_experts);

}  // namespace switchyard
