#pragma once

#include <cstdint>

#include "core/moe/options.h"
#include "core/moe/records.h"
#include "core/moe/routers/router.h"

namespace switchyard {

/// Seats of one expert for `tokens` tokens: max(min, ceil(factor · K · tokens / E · (1 − 1e-12))),
/// in fp64, so that exact integers (1.1 × 10) stay what they are.
/// `num_experts` is LightExperts::even_size(): no integer where a load is not meant to be equal.
int64_t expert_capacity(double factor, int64_t top_k, int64_t tokens, double num_experts,
                        int64_t min);

/// The factor after a step in which `drop_rate` of the assignments (mean over MoE layers) were
/// refused: ×1.05 above the target, ÷1.05 below it, within the bounds.
double next_capacity_factor(const DynamicCapacity& options, double factor, double drop_rate);

/// Fills decision.kept_TK, and slot_TK where context.places asks for it and a capacity is set:
/// within each group of the scope the assignments of an expert are seated in filling order until
/// its capacity is reached; the rest are refused.
///   position        (choice, token)                       GShard, Switch
///   probability     (−weight, token, choice)              Megatron-LM
///   batch_priority  (choice, −largest weight, token)      V-MoE (Riquelme 2021, section 4.1)
///   random          (choice, U, token), U of stream 7; in evaluation as position
/// With overflow next_choice a refused assignment then takes the next expert with room in its
/// token's ranking, in filling order; decision.expert_ids_TK and weights_TK become those of the
/// experts it ends with (Router::weights_of), and selected_TK keeps the first selection. With
/// `renormalize` the weights of the kept are divided by their sum; a refused one keeps its own.
///
/// The factor is context.capacity_factor where the config lets it move; evaluation by token choice
/// is dropless. `router` is needed for next_choice alone. Collective over context.communicator for
/// scopes micro_batch and sequences; the result for a token does not depend on the number of ranks.
void apply_capacity(const CapacityOptions& options, const MoEOptions& moe,
                    const RoutingContext& context, RoutingDecision& decision,
                    const Router* router = nullptr);

}  // namespace switchyard
