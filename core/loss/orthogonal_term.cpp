#include "core/loss/orthogonal_term.h"

#include "core/loss/option_term.h"

namespace switchyard {
namespace {

class OrthogonalTerm final : public OptionTerm {
 public:
  using OptionTerm::OptionTerm;

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const at::Tensor& ids_TK = decision.expert_ids_TK;
    return at::zeros({context.num_sequences(ids_TK.size(0)), 0},
                     ids_TK.options().dtype(at::kDouble));
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext&) const override {
    return at::zeros({}, sums_NW.options());
  }

  at::Tensor weight_value(const at::Tensor& router_ED) const override {
    const at::Tensor weight_ED = router_ED.to(at::kDouble);
    return (weight_ED.mm(weight_ED.t()) - at::eye(weight_ED.size(0), weight_ED.options()))
        .abs()
        .sum();
  }
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_orthogonal_term(const BalanceOptions& options) {
  return std::make_shared<OrthogonalTerm>(options);
}

}  // namespace switchyard
