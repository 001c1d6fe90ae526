#include "core/loss/entropy_terms.h"

#include <cmath>

#include "core/kernels/elementwise.h"
#include "core/loss/option_term.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

// −p ln p, with a finite gradient where p is 0.
at::Tensor surprise(const at::Tensor& probs) {
  constexpr double kTiny = 1e-300;
  return -probs * elementwise::log(probs.clamp_min(kTiny));
}

class EntropyTerm final : public OptionTerm {
 public:
  using OptionTerm::OptionTerm;

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    return sum_per_sequence(decision.probs_TE, context);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const at::Tensor probs_E = sums_NW.sum(0) / tokens_of(sums_NW, context);
    return std::log(static_cast<double>(sums_NW.size(1))) - surprise(probs_E).sum();
  }
};

class TokenEntropyTerm final : public OptionTerm {
 public:
  using OptionTerm::OptionTerm;

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    return sum_per_sequence(surprise(decision.probs_TE.to(at::kDouble)).sum(-1, true), context);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    return sums_NW.sum() / tokens_of(sums_NW, context);
  }
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_entropy_term(const BalanceOptions& options) {
  return std::make_shared<EntropyTerm>(options);
}

std::shared_ptr<const BalanceTerm> make_token_entropy_term(const BalanceOptions& options) {
  return std::make_shared<TokenEntropyTerm>(options);
}

}  // namespace switchyard
