#pragma once

#include <cstdint>

#include "core/moe/options.h"
#include "core/moe/records.h"

namespace switchyard {

/// Seats of one expert for `tokens` tokens: max(min, ceil(factor · K · tokens / E · (1 − 1e-12))),
/// in fp64, so that exact integers (1.1 × 10) stay what they are.
int64_t expert_capacity(double factor, int64_t top_k, int64_t tokens, int64_t num_experts,
                        int64_t min);

/// Fills decision.kept_TK, and slot_TK unless dropless: within each group of the scope the
/// assignments of an expert are seated in filling order until its capacity is reached; the rest are
/// refused. With `renormalize` the weights of the kept are divided by their sum.
///   position        (choice, token)                       GShard, Switch
///   probability     (−weight, token, choice)              Megatron-LM
///   batch_priority  (choice, −largest weight, token)      V-MoE (Riquelme 2021, section 4.1)
/// Collective over context.communicator for scope micro_batch; the result for a token does not
/// depend on the number of ranks.
void apply_capacity(const CapacityOptions& options, const MoEOptions& moe,
                    const RoutingContext& context, RoutingDecision& decision);

}  // namespace switchyard
