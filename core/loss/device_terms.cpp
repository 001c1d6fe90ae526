#include "core/loss/device_terms.h"

#include "core/loss/option_term.h"
#include "core/loss/selected.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

class DeviceTerm final : public OptionTerm {
 public:
  DeviceTerm(const BalanceOptions& options, int64_t num_groups)
      : OptionTerm(options), num_groups_(num_groups) {}

  // Columns: Σ p over the sequence's tokens [E], then its counts [E].
  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const at::Tensor chosen_TE = selected_TE(decision.expert_ids_TK, decision.probs_TE.size(1));
    return at::cat(
        {sum_per_sequence(decision.probs_TE, context), sum_per_sequence(chosen_TE, context)}, 1);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const int64_t E = sums_NW.size(1) / 2;
    const at::Tensor sums_W = sums_NW.sum(0);
    const at::Tensor probs_E = sums_W.narrow(0, 0, E) / tokens_of(sums_NW, context);
    const at::Tensor counts_E = sums_W.narrow(0, E, E).detach();
    const at::Tensor members_DE = groups_DE(num_groups_, E, sums_NW.options());
    const at::Tensor load_D = members_DE.mv(counts_E) / members_DE.sum(1) *
                              (static_cast<double>(E) / counts_E.sum().clamp_min(1));
    return load_D.dot(members_DE.mv(probs_E));
  }

 private:
  int64_t num_groups_;
};

class CommunicationTerm final : public OptionTerm {
 public:
  CommunicationTerm(const BalanceOptions& options, int64_t num_groups, int64_t most_groups)
      : OptionTerm(options), num_groups_(num_groups), most_groups_(most_groups) {}

  // Columns: Σ p over the sequence's tokens [E], then its tokens that reach each group [D].
  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const int64_t E = decision.probs_TE.size(1);
    const at::Tensor members_ED = groups_DE(num_groups_, E, decision.probs_TE.options()).t();
    const at::Tensor chosen_TE = selected_TE(decision.expert_ids_TK, E);
    const at::Tensor reached_TD = chosen_TE.mm(members_ED).gt(0);
    return at::cat(
        {sum_per_sequence(decision.probs_TE, context), sum_per_sequence(reached_TD, context)}, 1);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const int64_t D = num_groups_;
    const double tokens = tokens_of(sums_NW, context);
    const int64_t E = sums_NW.size(1) - D;
    const at::Tensor sums_W = sums_NW.sum(0);
    const at::Tensor probs_D =
        groups_DE(D, E, sums_NW.options()).mv(sums_W.narrow(0, 0, E)) / tokens;
    const at::Tensor load_D =
        sums_W.narrow(0, E, D).detach() *
        (static_cast<double>(D) / (static_cast<double>(most_groups_) * tokens));
    return load_D.dot(probs_D);
  }

 private:
  int64_t num_groups_, most_groups_;
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_device_term(const BalanceOptions& options,
                                                    int64_t num_groups) {
  return std::make_shared<DeviceTerm>(options, num_groups);
}

std::shared_ptr<const BalanceTerm> make_communication_term(const BalanceOptions& options,
                                                           int64_t num_groups,
                                                           int64_t most_groups) {
  return std::make_shared<CommunicationTerm>(options, num_groups, most_groups);
}

}  // namespace switchyard
