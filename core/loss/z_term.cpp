#include "core/loss/z_term.h"

#include "core/kernels/elementwise.h"
#include "core/loss/option_term.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

class ZTerm final : public OptionTerm {
 public:
  using OptionTerm::OptionTerm;

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    return sum_per_sequence(elementwise::row_logsumexp(decision.logits_TE).square(), context);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    return sums_NW.sum() / tokens_of(sums_NW, context);
  }
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_z_term(const BalanceOptions& options) {
  return std::make_shared<ZTerm>(options);
}

}  // namespace switchyard
