#include "core/moe/routers/router.h"

#include "core/base/error.h"
#include "core/moe/routers/base_router.h"
#include "core/moe/routers/expert_choice_router.h"
#include "core/moe/routers/forced_router.h"
#include "core/moe/routers/gshard_router.h"
#include "core/moe/routers/gumbel_router.h"
#include "core/moe/routers/hash_router.h"
#include "core/moe/routers/hierarchical_router.h"
#include "core/moe/routers/noisy_top_k_router.h"
#include "core/moe/routers/relu_router.h"
#include "core/moe/routers/sinkhorn_router.h"
#include "core/moe/routers/soft_router.h"
#include "core/moe/routers/top_k_router.h"

namespace switchyard {
namespace {

TopKRule top_k_rule(const MoEOptions& options) {
  using Score = TopKRule::Score;
  using Weights = TopKRule::Weights;
  using Groups = TopKRule::Groups;
  const RouterOptions& router = options.router;
  TopKRule rule;
  rule.num_experts = options.num_experts;
  rule.top_k = options.top_k;
  rule.num_groups = router.groups;
  rule.kept_groups = router.kept_groups;
  rule.multiplicative_bias = options.bias.multiplies();
  if (router.type == "mixtral") {
    rule.weights = Weights::kSoftmaxOfKept;
  } else if (router.type == "deepseek_v3") {
    rule.score = Score::kSigmoid;
    rule.groups = Groups::kTopTwoSum;
    rule.weights = Weights::kNormalized;
  } else if (router.type == "top_k") {
    if (router.score == "sigmoid") rule.score = Score::kSigmoid;
    if (router.score == "sqrtsoftplus") rule.score = Score::kSqrtSoftplus;
    rule.groups = rule.score == Score::kSoftmax ? Groups::kMax : Groups::kTopTwoSum;
    const bool normalize = router.normalize.value_or(options.top_k > 1);
    rule.weights = normalize ? Weights::kNormalized : Weights::kScore;
  } else if (router.type != "switch" && router.type != "deepseek_moe" &&
             router.type != "deepseek_v2") {
    throw ConfigError(fmt::format("moe.router.type: {} is not a router", router.type));
  }
  return rule;
}

HierarchyRule hierarchy_rule(const RouterOptions& router) {
  SWITCHYARD_CHECK(router.branches.size() == 2 && router.kept.size() == 2,
                   "moe.router.branches and kept are not set");
  return {router.branches[0], router.branches[1], router.kept[0], router.kept[1]};
}

ExpertChoiceRule::Pool pool_of(const RouterOptions& router) {
  if (router.pool == "sequence") return ExpertChoiceRule::Pool::kSequence;
  return router.pool == "tokens" ? ExpertChoiceRule::Pool::kTokens
                                 : ExpertChoiceRule::Pool::kMicroBatch;
}

std::unique_ptr<Router> make_plain_router(const MoEOptions& options,
                                          const RouterResources& resources) {
  const RouterOptions& router = options.router;
  const int64_t E = options.num_experts, K = options.top_k;
  if (router.type == "gshard") return make_gshard_router(E, options.bias.multiplies());
  if (router.type == "noisy_top_k") return make_noisy_top_k_router(E, K);
  if (router.type == "relu") return make_relu_router(E);
  if (router.type == "gumbel") return make_gumbel_router(E, K, router.temperature);
  if (router.type == "soft") return make_soft_router(E);
  if (router.type == "hierarchical") return make_hierarchical_router(hierarchy_rule(router));
  if (router.type == "hash") return make_hash_router(options, resources);
  if (router.type == "expert_choice")
    return make_expert_choice_router({E, K, pool_of(router), router.pool_tokens});
  if (router.type == "base") return make_base_router(E);
  if (router.type == "sinkhorn")
    return make_sinkhorn_router({E, K, router.temperature, router.rounds});
  return make_top_k_router(top_k_rule(options));
}

}  // namespace

std::unique_ptr<Router> make_router(const MoEOptions& options, const RouterResources& resources) {
  auto router = make_plain_router(options, resources);
  if (!options.force.active()) return router;
  return make_forced_router(std::move(router), options.force, options.num_experts, options.top_k);
}

at::Tensor Router::weights_of(const RoutingDecision&, const at::Tensor&) const {
  SWITCHYARD_CHECK(false, "a router that does not rank experts has no weights for others");
}

at::Tensor count_experts(const at::Tensor& expert_ids, int64_t num_experts) {
  const at::Tensor shifted = expert_ids.reshape({-1}) + 1;  // −1 falls into cell 0
  at::Tensor cells = at::zeros({num_experts + 1}, shifted.options());
  cells.scatter_add_(0, shifted, at::ones_like(shifted));
  return cells.narrow(0, 1, num_experts).contiguous();
}

}  // namespace switchyard
