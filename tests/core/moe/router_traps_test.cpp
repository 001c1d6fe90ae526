#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/moe/moe_layer.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/largest.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

// Two contexts of evaluation that draw other numbers in training.
struct TwoContexts {
  RoutingContext one, other;
  TwoContexts() {
    one.seed = 1;
    other.seed = 2;
    other.step = 7;
  }
  void train() { one.training = other.training = true; }
};

// The layer draws the jitter of the router's input.
MoELayer jittered_layer() {
  MoELayerOptions options;
  options.hidden_dim = 5;
  options.init.std = 0.5;
  options.moe = router_options("switch", 6, 1);
  options.moe.expert_dim = 4;
  options.moe.router.jitter = 0.2;
  MoELayer layer(options);
  layer->to(torch::kDouble);
  return layer;
}

}  // namespace

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
  Largest worst;
  for (const auto* type : {"gshard", "noisy_top_k", "gumbel"}) {
    CAPTURE(type);
    TwoContexts contexts;
    const auto moe = router_options(type, 6, 2);
    const auto a = decide(moe, logits, {}, contexts.one),
               b = decide(moe, logits, {}, contexts.other);
    CHECK(a.expert_ids_TK.equal(b.expert_ids_TK));
    worst.see((a.weights_TK - b.weights_TK).abs().max().item<double>());
    CHECK(a.expert_ids_TK.ge(0).all().item<bool>());
    contexts.train();
    CHECK_FALSE(decide(moe, logits, {}, contexts.one)
                    .expert_ids_TK.equal(decide(moe, logits, {}, contexts.other).expert_ids_TK));
  }
  TwoContexts contexts;
  auto layer = jittered_layer();
  const auto x = torch::randn({12, 5}, torch::kDouble);
  const auto apart = [&] {
    const auto a = layer->forward(x, contexts.one).y_TD, b = layer->forward(x, contexts.other).y_TD;
    return (a - b).abs().max().item<double>();
  };
  worst.see(apart());
  CHECK(worst.value() == 0);
  contexts.train();
  CHECK(apart() > 0);
  worst.print("traps: evaluation is noise-free");
}

TEST_CASE("traps: combine weights receive gradients") {
  torch::manual_seed(8);
  for (const auto& type : router_types()) {
    if (type == "hash") continue;  // its weights are 1/K
    CAPTURE(type);
    const MoEOptions moe = valid_options(type, 6, 2);
    const auto logits =
        torch::randn({8, make_router(moe)->logit_columns(6)}, torch::kDouble).requires_grad_(true);
    RoutingContext context = training_context();
    context.sequence_length = 4;
    const auto decision = decide(moe, logits, {}, context);
    (decision.weights_TK * torch::randn_like(decision.weights_TK)).sum().backward();
    CHECK(logits.grad().isfinite().all().item<bool>());
    CHECK(logits.grad().abs().max().item<double>() > 0);
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
