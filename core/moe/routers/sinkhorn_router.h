#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

struct SinkhornRule {
  int64_t num_experts = 1;
  int64_t top_k = 1;
  double temperature = 1.0;  ///< τ
  int64_t rounds = 8;        ///< N
};

/// Entropic assignment (Clark 2022, appendix B.2.1): top-k of u_t κ_te v_e with κ = exp(logit/τ)
/// over the whole micro-batch; N rounds of v_e = (T/E)/Σ_t u_t κ_te, u_t = 1/Σ_e κ_te v_e from
/// u = 1, in log space and fp64. Evaluation: top-k of the logits. Weights: σ(logit) for K = 1, else
/// the softmax of the logits. Collective where the whole batch is assigned.
std::unique_ptr<Router> make_sinkhorn_router(const SinkhornRule& rule);

}  // namespace switchyard
