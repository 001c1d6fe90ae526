#include "core/loss/variation_terms.h"

#include "core/loss/option_term.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

class ImportanceTerm final : public OptionTerm {
 public:
  using OptionTerm::OptionTerm;

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const int64_t T = decision.scores_TE.size(0), E = decision.scores_TE.size(1);
    const at::Tensor weights_TK = decision.weights_TK.to(at::kDouble);
    // Column 0 takes the zeros of tokens with fewer choices.
    const at::Tensor weights_TE = at::zeros({T, E + 1}, weights_TK.options())
                                      .scatter_add(1, decision.expert_ids_TK + 1, weights_TK)
                                      .narrow(1, 1, E);
    return sum_per_sequence(weights_TE, context);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext&) const override {
    return squared_variation(sums_NW.sum(0));
  }
};

class LoadTerm final : public OptionTerm {
 public:
  using OptionTerm::OptionTerm;

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const bool noisy = decision.load_TE.defined();
    return sum_per_sequence(noisy ? decision.load_TE : at::zeros_like(decision.scores_TE), context);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext&) const override {
    return squared_variation(sums_NW.sum(0));
  }
};

}  // namespace

at::Tensor squared_variation(const at::Tensor& amounts_E) {
  constexpr double kTiny = 1e-300;
  const at::Tensor mean = amounts_E.mean();
  return (amounts_E - mean).square().mean() / mean.square().clamp_min(kTiny);
}

std::shared_ptr<const BalanceTerm> make_importance_term(const BalanceOptions& options) {
  return std::make_shared<ImportanceTerm>(options);
}

std::shared_ptr<const BalanceTerm> make_load_term(const BalanceOptions& options) {
  return std::make_shared<LoadTerm>(options);
}

}  // namespace switchyard
