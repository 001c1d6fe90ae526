#include "core/moe/routers/gshard_router.h"

#include "core/base/counter_rng.h"
#include "core/kernels/counter_uniform.h"
#include "core/kernels/select.h"
#include "core/moe/routers/columns.h"
#include "core/moe/routers/intervention.h"
#include "core/moe/routers/random.h"
#include "core/moe/routers/selection_keys.h"

namespace switchyard {
namespace {

constexpr double kTiny = 1e-20;  // both gates of a token may be 0, where a bias overrules them

class GShardRouter final : public Router {
 public:
  GShardRouter(int64_t num_experts, bool multiplicative_bias)
      : num_experts_(num_experts), multiplicative_bias_(multiplicative_bias) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor& bias_E,
                         const RoutingContext& context) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = at::softmax(inputs.logits_TE, -1);
    decision.probs_TE = decision.scores_TE;
    decision.ranking_TE = selection_keys(decision.scores_TE, bias_E, multiplicative_bias_);
    decision.expert_ids_TK = select_top_k(decision.ranking_TE, 2);
    if (bias_E.defined())
      decision.moved =
          count_moved(decision.expert_ids_TK, select_top_k(decision.scores_TE.detach(), 2));
    const at::Tensor gates_TK = decision.scores_TE.gather(1, decision.expert_ids_TK);
    decision.weights_TK = gates_TK / (gates_TK.sum(-1, true) + kTiny);
    if (context.training) drop_unlikely_second(decision, context);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    const at::Tensor gates_TK = gather_chosen(decision.scores_TE, expert_ids_TK);
    const at::Tensor best_TK = decision.scores_TE.gather(1, select_top_k(decision.ranking_TE, 2));
    const at::Tensor divisor_TK = at::where(expert_ids_TK.lt(0).any(-1, true), best_TK, gates_TK);
    return gates_TK / (divisor_TK.sum(-1, true) + kTiny);
  }

 private:
  static void drop_unlikely_second(RoutingDecision& decision, const RoutingContext& context) {
    const at::Tensor second_T1 = decision.weights_TK.detach().narrow(1, 1, 1).to(at::kDouble);
    const at::Tensor u_T1 =
        draw(context, RandomStream::kSecondExpert, second_T1.size(0), 1, second_T1.options());
    const at::Tensor refused_T1 = (second_T1 * 2).le(u_T1);
    const at::Tensor refused_TK = at::cat({at::zeros_like(refused_T1), refused_T1}, 1);
    decision.expert_ids_TK = decision.expert_ids_TK.masked_fill(refused_TK, -1);
    decision.weights_TK = decision.weights_TK.masked_fill(refused_TK, 0);
  }

  int64_t num_experts_;
  bool multiplicative_bias_;
};

}  // namespace

std::unique_ptr<Router> make_gshard_router(int64_t num_experts, bool multiplicative_bias) {
  return std::make_unique<GShardRouter>(num_experts, multiplicative_bias);
}

}  // namespace switchyard
