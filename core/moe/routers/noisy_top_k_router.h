#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// Noisy top-k (Shazeer 2017, equations 3 to 5): top-k of h = logits + ε·σ with
/// σ = softplus(noise logits) + 1e-2, ε normal from stream 5 in training and 0 in evaluation;
/// weights are the softmax over the k kept h. In training load_TE = Φ((logits − threshold)/σ), the
/// chance that another draw of the expert's own noise selects it (appendix A, equation 8); the
/// threshold is the K-th largest h of the other experts and carries gradient too.
std::unique_ptr<Router> make_noisy_top_k_router(int64_t num_experts, int64_t top_k);

}  // namespace switchyard
