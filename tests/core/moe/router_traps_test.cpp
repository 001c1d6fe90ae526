#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

TEST_CASE("traps: a negative bias with a group mask never lets an outside expert in") {
  // With scores times a 0/1 mask an outside expert (0) would beat the biased ones inside (below 0).
  for (const auto* type : {"deepseek_v2", "deepseek_v3", "top_k"}) {
    CAPTURE(type);
    auto moe = router_options(type, 6, 2);
    moe.router.groups = 3;
    moe.router.kept_groups = 1;
    const auto bias = torch::tensor({-3.0, -3.0, -2.0, -2.0, -3.0, -3.0});
    const auto decision = decide(moe, torch::zeros({1, 6}, torch::kDouble), bias);
    CHECK(ids(decision) == std::vector<int64_t>{2, 3});
  }
}

TEST_CASE("traps: K = 1 with normalised weights is refused") {
  for (const auto* type : {"mixtral", "deepseek_v3", "noisy_top_k"}) {
    CAPTURE(type);
    CHECK_THROWS_AS(validate(router_options(type, 4, 1)), ConfigError);
  }
  auto tree = router_options("hierarchical", 4, 1);
  tree.router.branches = {2, 2};
  tree.router.kept = {1, 1};
  CHECK_THROWS_AS(validate(tree), ConfigError);
  auto top = router_options("top_k", 4, 1);
  CHECK_NOTHROW(validate(top));  // auto = not normalised
  top.router.normalize = true;
  CHECK_THROWS_AS(validate(top), ConfigError);
}

TEST_CASE("traps: evaluation is noise-free") {
  const auto logits = torch::randn({12, 6}, torch::kDouble);
  for (const auto* type : {"gshard", "noisy_top_k", "gumbel"}) {
    CAPTURE(type);
    RoutingContext one, other;
    one.seed = 1;
    other.seed = 2;
    other.step = 7;
    const auto moe = router_options(type, 6, 2);
    const auto a = decide(moe, logits, {}, one), b = decide(moe, logits, {}, other);
    CHECK(a.expert_ids_TK.equal(b.expert_ids_TK));
    CHECK(a.weights_TK.equal(b.weights_TK));
    CHECK(a.expert_ids_TK.ge(0).all().item<bool>());
    one.training = other.training = true;
    CHECK_FALSE(decide(moe, logits, {}, one)
                    .expert_ids_TK.equal(decide(moe, logits, {}, other).expert_ids_TK));
  }
}

TEST_CASE("traps: a zero-token rank") {
  for (const auto& type : router_types()) {
    const MoEOptions moe = valid_options(type, 6, 2);
    run_ranks(3, [&](Communicator& world) {
      RoutingContext context = training_context();
      context.communicator = &world;
      context.sequence_length = 4;
      const int64_t T = world.rank() == 1 ? 0 : 4;
      context.first_token = world.rank() == 2 ? 4 : 0;
      context.token_ids_T = torch::zeros({T}, torch::kLong);
      const auto logits = torch::zeros({T, make_router(moe)->logit_columns(6)}, torch::kDouble);
      const auto decision = decide(moe, logits, {}, context);
      if (decision.expert_ids_TK.size(0) != T || decision.weights_TK.size(0) != T ||
          decision.expert_ids_TK.size(1) < 1 || decision.counts_E.size(0) != 6)
        throw std::runtime_error(type + " on rank " + std::to_string(world.rank()));
    });
    SUCCEED(type);
  }
}

TEST_CASE("traps: one expert gets everything") {
  auto logits = torch::full({8, 6}, -50.0, torch::kDouble);
  logits.select(1, 4).fill_(50.0);
  for (const auto* type : {"switch", "mixtral", "top_k", "noisy_top_k", "deepseek_v2",
                           "deepseek_v3", "gumbel", "sinkhorn", "base"}) {
    CAPTURE(type);
    const auto decision = decide(valid_options(type, 6, 2), logits);
    CHECK(decision.counts_E[4].item<int64_t>() == 8);
    CHECK(decision.weights_TK.isfinite().all().item<bool>());
  }
  // Routers that balance by assignment spread them all the same.
  for (const auto* type : {"base", "expert_choice"}) {
    CAPTURE(type);
    const auto decision = decide(valid_options(type, 6, 1), logits, {}, training_context());
    CHECK(decision.counts_E.max().item<int64_t>() == 2);
  }
}
