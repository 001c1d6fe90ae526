#include "core/moe/routers/forced_router.h"

#include "core/base/counter_rng.h"
#include "core/kernels/select.h"
#include "core/moe/routers/random.h"

namespace switchyard {
namespace {

class ForcedRouter final : public Router {
 public:
  ForcedRouter(std::unique_ptr<Router> inner, const ForceOptions& force, int64_t num_experts,
               int64_t top_k)
      : inner_(std::move(inner)), force_(force), E_(num_experts), K_(top_k) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor& bias_E,
                         const RoutingContext& context) const override {
    RoutingDecision decision = inner_->decide(inputs, bias_E, context);
    const at::Tensor ids_TK = assign(decision.expert_ids_TK.size(0), context);
    redirect(*inner_, ids_TK.to(decision.expert_ids_TK.device()), decision);
    return decision;
  }
  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    return inner_->weights_of(decision, expert_ids_TK);
  }
  int64_t logit_columns(int64_t num_experts) const override {
    return inner_->logit_columns(num_experts);
  }
  int64_t noise_columns(int64_t num_experts) const override {
    return inner_->noise_columns(num_experts);
  }

 private:
  at::Tensor assign(int64_t tokens, const RoutingContext& context) const {
    const at::Tensor choice_K = at::arange(K_, at::kLong);
    if (force_.law == "one") return choice_K.expand({tokens, K_}).contiguous();
    if (force_.law == "round_robin") {
      const at::Tensor token_T1 =
          at::arange(context.first_token, context.first_token + tokens, at::kLong).unsqueeze(1);
      return (token_T1 * K_ + choice_K).remainder(E_);
    }
    return draw_experts(tokens, context);
  }

  // The K largest of ln p_e + Gumbel noise are K draws from p without replacement.
  at::Tensor draw_experts(int64_t tokens, RoutingContext context) const {
    if (!context.training) context.step = 0;
    const at::Tensor gumbel_TE =
        draw_gumbel(context, RandomStream::kForcedExpert, tokens, E_, at::kDouble);
    const at::Tensor place_E = at::arange(1, E_ + 1, at::kDouble);
    return select_top_k(gumbel_TE - place_E.log() * force_.exponent, K_);
  }

  std::unique_ptr<Router> inner_;
  ForceOptions force_;
  int64_t E_, K_;
};

}  // namespace

std::unique_ptr<Router> make_forced_router(std::unique_ptr<Router> inner, const ForceOptions& force,
                                           int64_t num_experts, int64_t top_k) {
  return std::make_unique<ForcedRouter>(std::move(inner), force, num_experts, top_k);
}

void redirect(const Router& router, const at::Tensor& expert_ids_TK, RoutingDecision& decision) {
  decision.expert_ids_TK = expert_ids_TK;
  decision.weights_TK = router.weights_of(decision, expert_ids_TK);
  decision.counts_E = count_experts(expert_ids_TK, decision.counts_E.size(0));
}

}  // namespace switchyard
