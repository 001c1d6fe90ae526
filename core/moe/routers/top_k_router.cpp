#include "core/moe/routers/top_k_router.h"

#include <limits>

#include "core/kernels/elementwise.h"
#include "core/kernels/select.h"
#include "core/moe/routers/columns.h"
#include "core/moe/routers/intervention.h"
#include "core/moe/routers/selection_keys.h"

namespace switchyard {
namespace {

constexpr double kTiny = 1e-20;

class TopKRouter final : public Router {
 public:
  explicit TopKRouter(const TopKRule& rule) : rule_(rule) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor& bias_E,
                         const RoutingContext&) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = scores(inputs.logits_TE);
    decision.probs_TE = rule_.score == TopKRule::Score::kSoftmax
                            ? decision.scores_TE
                            : decision.scores_TE / (decision.scores_TE.sum(-1, true) + kTiny);
    at::Tensor keys_TE = selection_keys(decision.scores_TE, bias_E, rule_.multiplicative_bias);
    if (rule_.kept_groups < rule_.num_groups) keys_TE = limit_to_groups(keys_TE, rule_);
    decision.expert_ids_TK = select_top_k(keys_TE, rule_.top_k);
    if (bias_E.defined())
      decision.moved = count_moved(decision.expert_ids_TK, unbiased_choice(decision.scores_TE));
    decision.ranking_TE = keys_TE;
    decision.weights_TK = weights_of(decision, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, rule_.num_experts);
    return decision;
  }

  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    if (rule_.weights == TopKRule::Weights::kSoftmaxOfKept) {
      const at::Tensor logits_TK = decision.logits_TE.gather(1, expert_ids_TK.clamp_min(0));
      return at::softmax(
          logits_TK.masked_fill(expert_ids_TK.lt(0), -std::numeric_limits<double>::infinity()), -1);
    }
    const at::Tensor scores_TK = gather_chosen(decision.scores_TE, expert_ids_TK);
    if (rule_.weights == TopKRule::Weights::kScore) return scores_TK;
    return scores_TK / (scores_TK.sum(-1, true) + kTiny);
  }

 private:
  at::Tensor unbiased_choice(const at::Tensor& scores_TE) const {
    const at::Tensor keys_TE = scores_TE.detach();
    const bool limited = rule_.kept_groups < rule_.num_groups;
    return select_top_k(limited ? limit_to_groups(keys_TE, rule_) : keys_TE, rule_.top_k);
  }

  at::Tensor scores(const at::Tensor& logits_TE) const {
    switch (rule_.score) {
      case TopKRule::Score::kSigmoid:
        return elementwise::sigmoid(logits_TE);
      case TopKRule::Score::kSqrtSoftplus:
        return elementwise::root_softplus(logits_TE);
      default:
        return at::softmax(logits_TE, -1);
    }
  }

  TopKRule rule_;
};

}  // namespace

at::Tensor limit_to_groups(const at::Tensor& keys_TE, const TopKRule& rule) {
  const int64_t T = keys_TE.size(0);
  const int64_t group_size = rule.num_experts / rule.num_groups;
  const at::Tensor keys_TGM = keys_TE.reshape({T, rule.num_groups, group_size});
  const at::Tensor group_scores_TG = rule.groups == TopKRule::Groups::kMax || group_size == 1
                                         ? keys_TGM.amax(-1)
                                         : std::get<0>(at::topk(keys_TGM, 2, -1)).sum(-1);
  const at::Tensor kept_TM = select_top_k(group_scores_TG, rule.kept_groups);
  at::Tensor outside_TG = at::ones({T, rule.num_groups}, keys_TE.options().dtype(at::kBool));
  outside_TG.scatter_(1, kept_TM, false);
  return keys_TGM.masked_fill(outside_TG.unsqueeze(-1), -std::numeric_limits<double>::infinity())
      .reshape(keys_TE.sizes());
}

std::unique_ptr<Router> make_top_k_router(const TopKRule& rule) {
  return std::make_unique<TopKRouter>(rule);
}

}  // namespace switchyard
