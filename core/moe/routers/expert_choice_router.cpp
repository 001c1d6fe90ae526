#include "core/moe/routers/expert_choice_router.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "core/kernels/select.h"
#include "core/moe/routers/columns.h"
#include "core/moe/routers/whole_batch.h"

namespace switchyard {
namespace {

class ExpertChoiceRouter final : public Router {
 public:
  explicit ExpertChoiceRouter(const ExpertChoiceRule& rule) : rule_(rule) {}

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext& context) const override {
    RoutingDecision decision;
    decision.logits_TE = inputs.logits_TE;
    decision.scores_TE = at::softmax(inputs.logits_TE, -1);
    decision.probs_TE = decision.scores_TE;
    if (!context.training && context.selection == RoutingContext::Selection::kTokenChoice) {
      decision.expert_ids_TK = select_top_k(decision.scores_TE, rule_.top_k);
    } else {
      const at::Tensor places_TE = places(decision.scores_TE, context);
      decision.expert_ids_TK = order_marked(decision.scores_TE, places_TE.ge(0));
      decision.slot_TK = places_TE.gather(1, decision.expert_ids_TK.clamp_min(0))
                             .masked_fill(decision.expert_ids_TK.lt(0), -1);
    }
    decision.weights_TK = gather_chosen(decision.scores_TE, decision.expert_ids_TK);
    decision.counts_E = count_experts(decision.expert_ids_TK, rule_.num_experts);
    return decision;
  }

 private:
  // Place of each token of one pool in each expert's queue, −1 = not taken.
  at::Tensor places_in_pool(const at::Tensor& scores_PE) const {
    const int64_t P = scores_PE.size(0), E = rule_.num_experts;
    const int64_t taken = (rule_.top_k * P + E - 1) / E;
    const at::Tensor order_EP =
        std::get<1>(at::sort(scores_PE.t().contiguous(), /*stable=*/true, -1, true));
    at::Tensor places_EP = at::full({E, P}, -1, order_EP.options());
    places_EP.scatter_(1, order_EP.narrow(1, 0, taken),
                       at::arange(taken, order_EP.options()).expand({E, taken}));
    return places_EP.t();
  }

  at::Tensor places_in_pools(const at::Tensor& scores_TE, int64_t pool) const {
    const int64_t T = scores_TE.size(0);
    std::vector<at::Tensor> parts;
    for (int64_t first = 0; first < T; first += pool)
      parts.push_back(places_in_pool(scores_TE.narrow(0, first, std::min(pool, T - first))));
    return parts.empty() ? at::empty(scores_TE.sizes(), scores_TE.options().dtype(at::kLong))
                         : at::cat(parts);
  }

  at::Tensor places(const at::Tensor& scores_TE, const RoutingContext& context) const {
    const at::Tensor mine_TE = scores_TE.detach();
    const int64_t T = mine_TE.size(0);
    if (rule_.pool == ExpertChoiceRule::Pool::kSequence)
      return places_in_pools(mine_TE, context.sequence_length > 0 ? context.sequence_length : T);
    const WholeBatch batch = gather_batch(mine_TE, context);
    const bool whole = rule_.pool == ExpertChoiceRule::Pool::kMicroBatch;
    return batch.own(places_in_pools(batch.rows, whole ? batch.rows.size(0) : rule_.pool_tokens));
  }

  ExpertChoiceRule rule_;
};

}  // namespace

std::unique_ptr<Router> make_expert_choice_router(const ExpertChoiceRule& rule) {
  return std::make_unique<ExpertChoiceRouter>(rule);
}

}  // namespace switchyard
