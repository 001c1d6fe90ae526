#include "core/moe/routers/relu_router.h"

#include <ATen/ATen.h>

#include "core/moe/routers/columns.h"

namespace switchyard {
namespace {

constexpr double kTiny = 1e-20;

class ReluRouter final : public Router {
 public:
  explicit ReluRouter(int64_t num_experts) : num_experts_(num_experts) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext&) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = at::relu(inputs.logits_TE);
    decision.probs_TE = decision.scores_TE / (decision.scores_TE.sum(-1, true) + kTiny);
    decision.expert_ids_TK = order_marked(decision.scores_TE, decision.scores_TE.gt(0));
    decision.weights_TK = gather_chosen(decision.scores_TE, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

 private:
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Router> make_relu_router(int64_t num_experts) {
  return std::make_unique<ReluRouter>(num_experts);
}

}  // namespace switchyard
