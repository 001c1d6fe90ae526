#include "core/moe/routers/noisy_top_k_router.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "core/kernels/elementwise.h"
#include "core/kernels/select.h"
#include "core/moe/routers/random.h"

namespace switchyard {
namespace {

constexpr double kLeastSigma = 1e-2;

class NoisyTopKRouter final : public Router {
 public:
  NoisyTopKRouter(int64_t num_experts, int64_t top_k) : num_experts_(num_experts), top_k_(top_k) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext& context) const override {
    const at::Tensor& clean_TE = inputs.logits_TE;
    RoutingDecision decision;
    decision.logits_TE = clean_TE;
    decision.scores_TE = at::softmax(clean_TE, -1);
    decision.probs_TE = decision.scores_TE;
    decision.ranking_TE = clean_TE;
    if (context.training) {
      const at::Tensor sigma_TE = sigma(inputs);
      decision.ranking_TE = clean_TE + noise(inputs, sigma_TE, context);
      decision.load_TE = chance_of_selection(clean_TE, decision.ranking_TE, sigma_TE);
    }
    decision.expert_ids_TK = select_top_k(decision.ranking_TE, top_k_);
    decision.weights_TK = weights_of(decision, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    const at::Tensor kept_TK = decision.ranking_TE.gather(1, expert_ids_TK.clamp_min(0));
    return at::softmax(
        kept_TK.masked_fill(expert_ids_TK.lt(0), -std::numeric_limits<double>::infinity()), -1);
  }

  int64_t noise_columns(int64_t num_experts) const override { return num_experts; }

 private:
  static at::Tensor sigma(const RouterInputs& inputs) {
    const at::Tensor noise_logits_TE = inputs.noise_logits_TE.defined()
                                           ? inputs.noise_logits_TE
                                           : at::zeros_like(inputs.logits_TE);
    return elementwise::softplus(noise_logits_TE) + kLeastSigma;
  }

  static at::Tensor noise(const RouterInputs& inputs, const at::Tensor& sigma_TE,
                          const RoutingContext& context) {
    if (inputs.noise_TE.defined()) return inputs.noise_TE;
    return sigma_TE * draw_normal(context, RandomStream::kGateNoise, sigma_TE.size(0),
                                  sigma_TE.size(1), sigma_TE.options());
  }

  at::Tensor chance_of_selection(const at::Tensor& clean_TE, const at::Tensor& noisy_TE,
                                 const at::Tensor& sigma_TE) const {
    if (top_k_ == num_experts_) return at::ones_like(clean_TE);
    const at::Tensor best_TK = select_top_k(noisy_TE, top_k_ + 1);
    const at::Tensor selected_TE = at::zeros(clean_TE.sizes(), clean_TE.options().dtype(at::kBool))
                                       .scatter_(1, best_TK.narrow(1, 0, top_k_), true);
    const at::Tensor last_in_T1 = noisy_TE.gather(1, best_TK.narrow(1, top_k_ - 1, 1));
    const at::Tensor first_out_T1 = noisy_TE.gather(1, best_TK.narrow(1, top_k_, 1));
    const at::Tensor threshold_TE = at::where(selected_TE, first_out_T1, last_in_T1);
    return 0.5 * elementwise::erfc((threshold_TE - clean_TE) / (sigma_TE * std::sqrt(2.0)));
  }

  int64_t num_experts_, top_k_;
};

}  // namespace

std::unique_ptr<Router> make_noisy_top_k_router(int64_t num_experts, int64_t top_k) {
  return std::make_unique<NoisyTopKRouter>(num_experts, top_k);
}

}  // namespace switchyard
