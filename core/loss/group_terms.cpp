#include "core/loss/group_terms.h"

#include <algorithm>

#include "core/loss/choices.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

at::Tensor per_group(const at::Tensor& values_E, int64_t groups) {
  return values_E.reshape({groups, -1}).sum(1);
}

double tokens_of(const at::Tensor& sums_NW, const TermContext& context) {
  return static_cast<double>(std::max<int64_t>(sums_NW.size(0) * context.sequence_length, 1));
}

// Columns: Σ p [E], then counts [E].
class DeviceTerm final : public BalanceTerm {
 public:
  DeviceTerm(const MoEOptions& moe, int64_t groups) : E_(moe.num_experts), groups_(groups) {}

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    return at::cat({sum_per_sequence(decision.probs_TE, context),
                    sum_per_sequence(chosen_TE(decision.expert_ids_TK, E_), context)},
                   1);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const at::Tensor sums_W = sums_NW.sum(0);
    const at::Tensor probs_E = sums_W.narrow(0, 0, E_) / tokens_of(sums_NW, context);
    const at::Tensor counts_E = sums_W.narrow(0, E_, E_).detach();
    const at::Tensor shares_E = counts_E / counts_E.sum().clamp_min(1);
    return (per_group(shares_E, groups_) * per_group(probs_E, groups_)).sum() *
           static_cast<double>(groups_);
  }

 private:
  int64_t E_, groups_;
};

// Columns: Σ p [E], then tokens that reach each group [D].
class CommunicationTerm final : public BalanceTerm {
 public:
  CommunicationTerm(const MoEOptions& moe, int64_t groups)
      : E_(moe.num_experts), groups_(groups), reached_(std::min(moe.top_k, groups)) {
    if (moe.router.kept_groups < moe.router.groups)
      reached_ = std::min(moe.top_k, moe.router.kept_groups);
  }

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const at::Tensor chosen = chosen_TE(decision.expert_ids_TK, E_);
    const at::Tensor reached_TD = chosen.reshape({chosen.size(0), groups_, E_ / groups_}).amax(2);
    return at::cat(
        {sum_per_sequence(decision.probs_TE, context), sum_per_sequence(reached_TD, context)}, 1);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const at::Tensor sums_W = sums_NW.sum(0);
    const double tokens = tokens_of(sums_NW, context);
    const at::Tensor probs_D = per_group(sums_W.narrow(0, 0, E_), groups_) / tokens;
    const at::Tensor reach_D = sums_W.narrow(0, E_, groups_).detach() / tokens;
    return (reach_D * probs_D).sum() *
           (static_cast<double>(groups_) / static_cast<double>(reached_));
  }

 private:
  int64_t E_, groups_, reached_;
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_device_term(const MoEOptions& moe, int64_t groups) {
  return std::make_shared<DeviceTerm>(moe, groups);
}

std::shared_ptr<const BalanceTerm> make_communication_term(const MoEOptions& moe, int64_t groups) {
  return std::make_shared<CommunicationTerm>(moe, groups);
}

}  // namespace switchyard
