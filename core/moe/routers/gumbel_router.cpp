#include "core/moe/routers/gumbel_router.h"

#include <ATen/ATen.h>

#include "core/kernels/select.h"
#include "core/moe/routers/columns.h"
#include "core/moe/routers/random.h"

namespace switchyard {
namespace {

constexpr double kTiny = 1e-20;

class GumbelRouter final : public Router {
 public:
  GumbelRouter(int64_t num_experts, int64_t top_k, double temperature)
      : num_experts_(num_experts), top_k_(top_k), temperature_(temperature) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext& context) const override {
    const at::Tensor& logits_TE = inputs.logits_TE;
    RoutingDecision decision;
    decision.logits_TE = logits_TE;
    decision.scores_TE = at::softmax(logits_TE, -1);
    decision.probs_TE = decision.scores_TE;
    at::Tensor z_TE = logits_TE;
    if (context.training)
      z_TE = z_TE + draw_gumbel(context, RandomStream::kGumbel, logits_TE.size(0),
                                logits_TE.size(1), logits_TE.options());
    decision.ranking_TE = z_TE / temperature_;
    decision.expert_ids_TK = select_top_k(decision.ranking_TE, top_k_);
    decision.weights_TK = weights_of(decision, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    at::Tensor forward_TK = gather_chosen(decision.scores_TE.detach(), expert_ids_TK);
    if (top_k_ > 1) forward_TK = forward_TK / (forward_TK.sum(-1, true) + kTiny);
    const at::Tensor backward_TK =
        gather_chosen(at::softmax(decision.ranking_TE, -1), expert_ids_TK);
    return forward_TK + (backward_TK - backward_TK.detach());
  }

 private:
  int64_t num_experts_, top_k_;
  double temperature_;
};

}  // namespace

std::unique_ptr<Router> make_gumbel_router(int64_t num_experts, int64_t top_k, double temperature) {
  return std::make_unique<GumbelRouter>(num_experts, top_k, temperature);
}

}  // namespace switchyard
