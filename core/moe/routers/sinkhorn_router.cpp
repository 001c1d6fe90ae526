#include "core/moe/routers/sinkhorn_router.h"

#include <ATen/ATen.h>

#include <cmath>

#include "core/kernels/elementwise.h"
#include "core/kernels/select.h"
#include "core/moe/routers/columns.h"
#include "core/moe/routers/whole_batch.h"

namespace switchyard {
namespace {

class SinkhornRouter final : public Router {
 public:
  explicit SinkhornRouter(const SinkhornRule& rule) : rule_(rule) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext& context) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = inputs.logits_TE;
    decision.probs_TE = at::softmax(inputs.logits_TE, -1);
    decision.ranking_TE = inputs.logits_TE.detach();
    if (assigns_whole_batch(context)) {
      const WholeBatch batch = gather_batch(inputs.logits_TE, context);
      decision.ranking_TE = batch.own(log_plan(batch.rows.to(at::kDouble)));
    }
    decision.expert_ids_TK = select_top_k(decision.ranking_TE, rule_.top_k);
    decision.weights_TK = weights_of(decision, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, rule_.num_experts);
    return decision;
  }

  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    const at::Tensor gates_TE =
        rule_.top_k == 1 ? elementwise::sigmoid(decision.logits_TE) : decision.probs_TE;
    return gather_chosen(gates_TE, expert_ids_TK);
  }

 private:
  at::Tensor log_plan(const at::Tensor& logits_TE) const {
    const int64_t T = logits_TE.size(0);
    const at::Tensor kappa_TE = logits_TE / rule_.temperature;
    if (T == 0) return kappa_TE;
    const double share = std::log(static_cast<double>(T) / static_cast<double>(rule_.num_experts));
    // An expert's sum over tokens is taken along a row, so that experts with equal logits stay
    // equal.
    const at::Tensor kappa_ET = kappa_TE.t().contiguous();
    at::Tensor u_T1 = at::zeros({T, 1}, kappa_TE.options()), v_E1;
    for (int64_t round = 0; round < rule_.rounds; ++round) {
      v_E1 = share - elementwise::row_logsumexp(kappa_ET + u_T1.t());
      u_T1 = -elementwise::row_logsumexp(kappa_TE + v_E1.t());
    }
    return u_T1 + kappa_TE + v_E1.t();
  }

  SinkhornRule rule_;
};

}  // namespace

std::unique_ptr<Router> make_sinkhorn_router(const SinkhornRule& rule) {
  return std::make_unique<SinkhornRouter>(rule);
}

}  // namespace switchyard
