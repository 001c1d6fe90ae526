#include "core/moe/routers/soft_router.h"

#include <ATen/ATen.h>

#include "core/kernels/select.h"

namespace switchyard {
namespace {

class SoftRouter final : public Router {
 public:
  explicit SoftRouter(int64_t num_experts) : num_experts_(num_experts) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext&) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = at::softmax(inputs.logits_TE, -1);
    decision.probs_TE = decision.scores_TE;
    decision.expert_ids_TK = select_top_k(decision.scores_TE, num_experts_);
    decision.weights_TK = decision.scores_TE.gather(1, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

 private:
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Router> make_soft_router(int64_t num_experts) {
  return std::make_unique<SoftRouter>(num_experts);
}

}  // namespace switchyard
