#pragma once

#include <memory>

#include "core/moe/options.h"
#include "core/moe/routers/router.h"

namespace switchyard {

/// A router whose assignments come from a law, so that a load test chooses its own imbalance:
///   uniform      K distinct experts at random          zipf  the same, expert e with weight
///   (e+1)^−a round_robin  (K · token + choice) mod E            one   experts 0 … K−1 for every
///   token
/// Scores, probabilities and the weights of the forced experts are those of `inner`, so that the
/// router still learns. Drawn per (seed, step, layer, global token); evaluation repeats step 0.
/// `inner` must rank experts.
std::unique_ptr<Router> make_forced_router(std::unique_ptr<Router> inner, const ForceOptions& force,
                                           int64_t num_experts, int64_t top_k);

/// Sends the tokens of `decision` to other experts (−1 = none), with the weights that `router`
/// gives them.
void redirect(const Router& router, const at::Tensor& expert_ids_TK, RoutingDecision& decision);

}  // namespace switchyard
