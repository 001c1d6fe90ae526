#include "core/loss/relu_l1.h"

#include <string>

#include "core/loss/selected.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

class ReluL1Term final : public BalanceTerm {
 public:
  explicit ReluL1Term(int64_t top_k) : top_k_(top_k) {}

  // Columns: Σ s over the sequence's tokens [E], then the tokens that activate each expert [E].
  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const at::Tensor active_TE = selected_TE(decision.expert_ids_TK, decision.scores_TE.size(1));
    return at::cat(
        {sum_per_sequence(decision.scores_TE, context), sum_per_sequence(active_TE, context)}, 1);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const int64_t E = sums_NW.size(1) / 2;
    const double tokens = tokens_of(sums_NW, context);
    const at::Tensor sums_W = sums_NW.sum(0);
    const at::Tensor weights_E = sums_W.narrow(0, E, E).detach() *
                                 (static_cast<double>(E) / (static_cast<double>(top_k_) * tokens));
    return weights_E.dot(sums_W.narrow(0, 0, E)) / tokens;
  }

  double coefficient(const StepCoefficients& now) const override { return now.relu_l1; }
  const std::string& name() const override { return name_; }

 private:
  int64_t top_k_;
  std::string name_ = "relu_l1";
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_relu_l1_term(int64_t top_k) {
  return std::make_shared<ReluL1Term>(top_k);
}

ReluL1::ReluL1(double first, double rate, int64_t top_k)
    : rate_(rate), top_k_(top_k), lambda_(at::full({1}, first, at::kDouble)) {}

double ReluL1::coefficient() const {
  return lambda_.item<double>();
}

void ReluL1::update(const std::vector<at::Tensor>& counts_E, int64_t tokens) {
  // Whole numbers: active pairs against K of each token and layer.
  int64_t active = 0;
  for (const at::Tensor& counts : counts_E) active += counts.sum().item<int64_t>();
  const int64_t wanted = top_k_ * tokens * static_cast<int64_t>(counts_E.size());
  if (active > wanted) lambda_.mul_(rate_);
  if (active < wanted) lambda_.div_(rate_);
}

}  // namespace switchyard
