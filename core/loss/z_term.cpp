#include "core/loss/z_term.h"

#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

class ZTerm final : public BalanceTerm {
 public:
  explicit ZTerm(const BalanceOptions& options) : options_(options) {}

  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    return sum_per_sequence(at::logsumexp(decision.logits_TE, {-1}, true).square(), context);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const int64_t tokens = std::max<int64_t>(sums_NW.size(0) * context.sequence_length, 1);
    return sums_NW.sum() / static_cast<double>(tokens);
  }

  double coefficient() const override { return options_.coef; }
  const std::string& name() const override { return options_.type; }

 private:
  BalanceOptions options_;
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_z_term(const BalanceOptions& options) {
  return std::make_shared<ZTerm>(options);
}

}  // namespace switchyard
