#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "core/moe/options.h"
#include "core/moe/records.h"

namespace switchyard {

/// What a router decides from. Each [T, ...] in fp32 or fp64.
struct RouterInputs {
  at::Tensor logits_TE;        ///< undefined for routers without scores; [T, a + E] hierarchical
  at::Tensor noise_logits_TE;  ///< noisy_top_k: x · W_noise; undefined = 0
  at::Tensor noise_TE;         ///< noisy_top_k in training: the noise itself; undefined = drawn
  at::ScalarType dtype = at::kFloat;  ///< of the weights where there are no logits
};

/// What a router needs to know of the data: hash alone does.
struct RouterResources {
  int64_t vocab_size = 0;
  at::Tensor token_counts_V;  ///< frequencies in the training data: int64 or fp64
};

/// Scores and selection: turns router logits into a decision. Holds no parameters and no state but
/// a hash table, so the same object serves a model's layer and recorded logits.
class Router {
 public:
  virtual ~Router() = default;
  /// bias_E is added to the scores (under `bias.type: multiplicative` multiplied with them) for
  /// selection only (undefined = none; only routers whose traits have `takes_bias` are given one).
  /// Fills every field of the decision but those that capacity fills. The weights are those before
  /// `moe.router.scale`. Ties go to the lower expert. A rank may have no tokens. Local, but for
  /// routers that assign a whole batch (base, sinkhorn, expert_choice over more than a sequence):
  /// collective over context.communicator, the same result for any ranks.
  virtual RoutingDecision decide(const RouterInputs& inputs, const at::Tensor& bias_E,
                                 const RoutingContext& context) const = 0;
  /// Combine weights, before `scale`, of other experts than those that `decision` chose (−1 = none,
  /// weight 0): what the overflow rule next_choice needs. Differentiable. Only for routers whose
  /// traits have `ranks_experts`.
  virtual at::Tensor weights_of(const RoutingDecision& decision,
                                const at::Tensor& expert_ids_TK) const;
  /// Columns of the logits, which is rows of the router's weight; 0 = no weight.
  virtual int64_t logit_columns(int64_t num_experts) const { return num_experts; }
  /// Columns of the noise logits, which is rows of a second weight; 0 = none.
  virtual int64_t noise_columns(int64_t) const { return 0; }
  /// hash, balanced: the experts of each token id, int64 [V, K], live; else undefined. Part of the
  /// saved state, so that other data cannot change it.
  virtual at::Tensor table() const { return {}; }
};

/// The router that `options.router.type` names; options must be valid. Throws ConfigError for an
/// unknown name.
///   switch        softmax, top-1, weight s                       Fedus 2022, section 2.1
///   gshard        softmax, top-2, random second expert           Lepikhin 2021, algorithm 1
///   noisy_top_k   top-k of logits with learned noise             Shazeer 2017, equations 3 to 5
///   mixtral       softmax over the k kept logits                 Jiang 2024, section 2.1
///   top_k         softmax, sigmoid or sqrtsoftplus scores        OLMoE (Muennighoff 2024), Qwen3
///   deepseek_moe  softmax, top-k, weights not renormalised       Dai 2024, equations 3 to 5
///   deepseek_v2   the same inside the best groups                DeepSeek-V2 2024, section 2.2.2
///   deepseek_v3   sigmoid, group-limited, bias for selection     DeepSeek-V3 2024, equations 12-16
///   relu          every expert with a positive score             Wang 2024 (ReMoE), equation 5
///   gumbel        top-k of logits with Gumbel noise              Jang 2017, section 2.2
///   soft          all experts                                    Jacobs 1991
///   hash          a function of the token's id                   Roller 2021
///   expert_choice each expert takes its best tokens              Zhou 2022, section 3.2
///   base          balanced assignment with the largest sum       Lewis 2021, section 3
///   sinkhorn      entropic assignment                            Clark 2022, appendix B.2.1
///   hierarchical  best experts of the best groups                Jordan 1994; Shazeer 2017, app. B
std::unique_ptr<Router> make_router(const MoEOptions& options,
                                    const RouterResources& resources = {});

/// Counts of the experts in `expert_ids` (any shape, −1 ignored): counts_E, int64.
at::Tensor count_experts(const at::Tensor& expert_ids, int64_t num_experts);

}  // namespace switchyard
