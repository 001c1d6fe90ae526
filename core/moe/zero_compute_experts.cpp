#include "core/moe/zero_compute_experts.h"

#include "core/nn/init.h"

namespace switchyard {

ZeroComputeExpertsImpl::ZeroComputeExpertsImpl(int64_t hidden_dim, int64_t first,
                                               const ZeroComputeCounts& counts)
    : first_(first), counts_(counts) {
  if (counts.constant == 0) return;
  mix_C2D = register_parameter("mix", torch::zeros({counts.constant, 2, hidden_dim}));
  value_CD = register_parameter("value", torch::zeros({counts.constant, hidden_dim}));
}

at::Tensor ZeroComputeExpertsImpl::forward(const at::Tensor& x_TD,
                                           const RoutingDecision& decision) const {
  const int64_t T = x_TD.size(0), D = x_TD.size(1), C = counts_.constant;
  // One column for each copy and constant expert, behind one that takes everything else.
  const at::Tensor column_TK = (decision.expert_ids_TK - (first_ + counts_.zero) + 1).clamp_min(0);
  const at::Tensor kept_TK = decision.weights_TK.masked_fill(decision.kept_TK.logical_not(), 0);
  const at::Tensor weights_TN =
      at::zeros({T, 1 + counts_.copy + C}, kept_TK.options().requires_grad(false))
          .scatter_add(1, column_TK, kept_TK);
  at::Tensor share_T = weights_TN.narrow(1, 1, counts_.copy).sum(1);
  if (C == 0) return x_TD * share_T.to(x_TD.dtype()).unsqueeze(1);

  const at::Tensor input_TD = x_TD.to(mix_C2D.dtype());
  const at::Tensor weights_TC = weights_TN.narrow(1, 1 + counts_.copy, C).to(mix_C2D.dtype());
  const at::Tensor alpha_TC2 =
      at::softmax(at::mm(input_TD, mix_C2D.view({2 * C, D}).t()).view({T, C, 2}), -1);
  share_T = share_T.to(mix_C2D.dtype()) + (weights_TC * alpha_TC2.select(2, 0)).sum(1);
  const at::Tensor constant_TD = at::mm(weights_TC * alpha_TC2.select(2, 1), value_CD);
  return (input_TD * share_T.unsqueeze(1) + constant_TD).to(x_TD.dtype());
}

void ZeroComputeExpertsImpl::initialize(uint64_t seed, const std::string& prefix,
                                        const WeightInit& init) {
  torch::NoGradGuard no_grad;
  if (!mix_C2D.defined()) return;
  init_weight(mix_C2D, seed, prefix + ".mix", init);
  init_weight(value_CD, seed, prefix + ".value", init);
}

RoutingDecision only_below(const RoutingDecision& decision, int64_t first) {
  RoutingDecision below = decision;
  const at::Tensor others_TK = decision.expert_ids_TK.ge(first);
  below.expert_ids_TK = decision.expert_ids_TK.masked_fill(others_TK, -1);
  if (decision.kept_TK.defined())
    below.kept_TK = decision.kept_TK.logical_and(others_TK.logical_not());
  return below;
}

}  // namespace switchyard
