#include <catch2/catch.hpp>

#include "core/moe/options/router_traits.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr int64_t kTokens = 12, kExperts = 6;

struct Pair {
  RoutingDecision before, after;  // after other logits and another id from token `changed` on
};

Pair decide_twice(const MoEOptions& moe, int64_t changed, bool training) {
  const auto router = make_router(moe, {kTokens, torch::arange(kTokens)});
  auto generator = at::detail::createCPUGenerator(17);
  RouterInputs inputs;
  inputs.logits_TE = at::randn({kTokens, std::max<int64_t>(1, router->logit_columns(kExperts))},
                               generator, torch::kDouble);
  RoutingContext context = training_context();
  context.training = training;
  context.token_ids_T = torch::arange(kTokens).remainder(5);
  Pair pair;
  pair.before = router->decide(inputs, {}, context);
  inputs.logits_TE = inputs.logits_TE.clone();
  inputs.logits_TE.slice(0, changed).mul_(-3).add_(0.5);
  context.token_ids_T = context.token_ids_T.clone();
  context.token_ids_T.slice(0, changed).fill_(9);
  pair.after = router->decide(inputs, {}, context);
  return pair;
}

// Whether the first `tokens` tokens go to the same experts with the same weights.
bool same(const Pair& pair, int64_t tokens) {
  const auto head = [&](const torch::Tensor& columns_TK, double empty) {
    return torch::constant_pad_nd(columns_TK, {0, kExperts - columns_TK.size(1)}, empty)
        .narrow(0, 0, tokens);
  };
  return head(pair.before.expert_ids_TK, -1).equal(head(pair.after.expert_ids_TK, -1)) &&
         head(pair.before.weights_TK, 0).equal(head(pair.after.weights_TK, 0));
}

}  // namespace

TEST_CASE("causality: a later token moves no earlier one where traits say so") {
  for (const auto& type : router_types())
    for (const auto* table : {"random", "balanced", "bigram"})
      for (const bool training : {true, false}) {
        MoEOptions moe = valid_options(type, kExperts, 2);
        moe.router.table = table;
        if (!router_traits(moe.router, moe.top_k).causal) continue;
        CAPTURE(type, table, training);
        for (int64_t changed = 1; changed < kTokens; ++changed)
          CHECK(same(decide_twice(moe, changed, training), changed));
      }
}

TEST_CASE("causality: assignment of a whole batch moves earlier tokens, its evaluation does not") {
  for (const auto* type : {"expert_choice", "base", "sinkhorn"}) {
    CAPTURE(type);
    const MoEOptions moe = valid_options(type, kExperts, 2);
    CHECK_FALSE(router_traits(moe.router, moe.top_k).causal);
    bool moved = false;
    for (int64_t changed = 1; changed < kTokens; ++changed)
      moved = moved || !same(decide_twice(moe, changed, true), changed);
    CHECK(moved);
    if (std::string(type) == "expert_choice") continue;
    for (int64_t changed = 1; changed < kTokens; ++changed)
      CHECK(same(decide_twice(moe, changed, false), changed));
  }
}
