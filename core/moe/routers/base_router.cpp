#include "core/moe/routers/base_router.h"

#include <ATen/ATen.h>

#include "core/kernels/elementwise.h"
#include "core/kernels/select.h"
#include "core/moe/routers/balanced_assignment.h"
#include "core/moe/routers/columns.h"
#include "core/moe/routers/whole_batch.h"

namespace switchyard {
namespace {

class BaseRouter final : public Router {
 public:
  explicit BaseRouter(int64_t num_experts) : num_experts_(num_experts) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext& context) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = inputs.logits_TE;
    decision.probs_TE = at::softmax(inputs.logits_TE, -1);
    if (assigns_whole_batch(context)) {
      const WholeBatch batch = gather_batch(inputs.logits_TE, context);
      decision.expert_ids_TK =
          batch.own(balanced_assignment(batch.rows)).unsqueeze(1).to(inputs.logits_TE.device());
    } else {
      decision.expert_ids_TK = select_top_k(inputs.logits_TE, 1);
    }
    decision.weights_TK =
        gather_chosen(elementwise::sigmoid(inputs.logits_TE), decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

 private:
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Router> make_base_router(int64_t num_experts) {
  return std::make_unique<BaseRouter>(num_experts);
}

}  // namespace switchyard
