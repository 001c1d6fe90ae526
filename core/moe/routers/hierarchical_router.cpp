#include "core/moe/routers/hierarchical_router.h"

#include <ATen/ATen.h>

#include <limits>

#include "core/kernels/select.h"
#include "core/moe/routers/columns.h"

namespace switchyard {
namespace {

constexpr double kTiny = 1e-20;
constexpr double kNever = -std::numeric_limits<double>::infinity();

// True at the k best of each row.
at::Tensor best(const at::Tensor& keys_TE, int64_t k) {
  return at::zeros(keys_TE.sizes(), keys_TE.options().dtype(at::kBool))
      .scatter_(1, select_top_k(keys_TE, k), true);
}

class HierarchicalRouter final : public Router {
 public:
  explicit HierarchicalRouter(const HierarchyRule& rule) : rule_(rule) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext&) const override {
    const int64_t T = inputs.logits_TE.size(0), a = rule_.groups, b = rule_.group_size;
    const at::Tensor groups_TG = at::softmax(inputs.logits_TE.narrow(1, 0, a), -1);
    const at::Tensor inside_TGM =
        at::softmax(inputs.logits_TE.narrow(1, a, a * b).reshape({T, a, b}), -1);
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = (groups_TG.unsqueeze(-1) * inside_TGM).reshape({T, a * b});
    decision.probs_TE = decision.scores_TE;

    const at::Tensor group_kept_TG1 = best(groups_TG, rule_.kept_groups).unsqueeze(-1);
    const at::Tensor inside_kept_TGM =
        best(inside_TGM.reshape({T * a, b}), rule_.kept_per_group).reshape({T, a, b});
    const at::Tensor products_TE = decision.scores_TE.detach();
    const auto limited = [&](const at::Tensor& allowed_TGM) {
      return products_TE.masked_fill(~allowed_TGM.reshape({T, a * b}), kNever);
    };
    decision.ranking_TE = limited(group_kept_TG1.expand({T, a, b}));
    decision.expert_ids_TK = select_top_k(limited(group_kept_TG1 & inside_kept_TGM),
                                          rule_.kept_groups * rule_.kept_per_group);
    decision.weights_TK = weights_of(decision, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, a * b);
    return decision;
  }

  at::Tensor weights_of(const RoutingDecision& decision,
                        const at::Tensor& expert_ids_TK) const override {
    const at::Tensor products_TK = gather_chosen(decision.scores_TE, expert_ids_TK);
    return products_TK / (products_TK.sum(-1, true) + kTiny);
  }

  int64_t logit_columns(int64_t num_experts) const override { return rule_.groups + num_experts; }

 private:
  HierarchyRule rule_;
};

}  // namespace

std::unique_ptr<Router> make_hierarchical_router(const HierarchyRule& rule) {
  return std::make_unique<HierarchicalRouter>(rule);
}

}  // namespace switchyard
