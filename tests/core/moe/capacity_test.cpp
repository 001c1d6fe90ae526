#include "core/moe/capacity.h"

#include <catch2/catch.hpp>

using namespace switchyard;

namespace {

struct Case {
  MoEOptions moe;
  RoutingContext context;
  RoutingDecision decision;

  Case(torch::Tensor ids, torch::Tensor weights, int64_t experts, double factor) {
    moe.num_experts = experts;
    moe.top_k = ids.size(1);
    moe.capacity.factor = factor;
    context.training = true;
    decision.expert_ids_TK = ids;
    decision.weights_TK = weights;
  }
  std::vector<bool> kept() {
    apply_capacity(moe.capacity, moe, context, decision);
    std::vector<bool> flat;
    for (int64_t i = 0; i < decision.kept_TK.numel(); ++i)
      flat.push_back(decision.kept_TK.reshape({-1})[i].item<bool>());
    return flat;
  }
};

using Flags = std::vector<bool>;

}  // namespace

TEST_CASE("Capacity rounds up, but not an exact integer") {
  CHECK(expert_capacity(1.1, 1, 100, 10, 0) == 11);  // 1.1 × 10 is 11.000000000000002 in fp64
  CHECK(expert_capacity(1.25, 2, 10, 4, 0) == 7);    // 6.25
  CHECK(expert_capacity(1.0, 1, 7, 2, 0) == 4);      // 3.5
  CHECK(expert_capacity(1.0, 1, 2, 8, 4) == 4);      // the lowest allowed
  CHECK(expert_capacity(1.0, 1, 0, 8, 0) == 0);
}

TEST_CASE("Position order seats all first choices before any second") {
  // Four tokens, two experts, two choices; capacity 1.0·2·4/2 = 4, with factor 0.5: 2.
  const auto ids = torch::tensor({{0, 1}, {0, 1}, {1, 0}, {0, 1}});
  Case c(ids, torch::full({4, 2}, 0.5), 2, 0.5);

  // Expert 0: first choices of 0, 1, 3 → 0 and 1 seated. Expert 1: 2 first, then second choice of
  // 0.
  CHECK(c.kept() == Flags{true, true, true, false, true, false, false, false});
  CHECK(c.decision.slot_TK.equal(torch::tensor({{0, 1}, {1, -1}, {0, -1}, {-1, -1}})));
}

TEST_CASE("Probability order seats the largest weights first") {
  const auto ids = torch::tensor({{0}, {0}, {0}, {1}});
  const auto weights = torch::tensor({{0.3}, {0.9}, {0.6}, {0.5}});
  Case c(ids, weights, 2, 1.0);
  c.moe.capacity.order = "probability";

  CHECK(c.kept() == Flags{false, true, true, true});
}

TEST_CASE("Batch priority ranks tokens by their largest weight, choice by choice") {
  const auto ids = torch::tensor({{0, 1}, {1, 0}, {0, 1}});
  const auto weights = torch::tensor({{0.5, 0.4}, {0.9, 0.1}, {0.8, 0.2}});
  Case c(ids, weights, 2, 2.0 / 3);  // capacity 2
  c.moe.capacity.order = "batch_priority";

  // Expert 0: first choices of tokens 2 and 0 fill it. Expert 1: token 1, then second choice of 2.
  CHECK(c.kept() == Flags{true, false, true, false, true, true});
}

TEST_CASE("Sequence scope seats each sequence on its own") {
  const auto ids = torch::zeros({6, 1}, torch::kLong);
  Case c(ids, torch::ones({6, 1}), 3, 1.0);
  c.moe.capacity.scope = "sequence";
  c.context.sequence_length = 3;  // capacity 1 for each of the two sequences

  CHECK(c.kept() == Flags{true, false, false, true, false, false});
}

TEST_CASE("Evaluation uses eval_factor") {
  const auto ids = torch::zeros({4, 1}, torch::kLong);
  Case c(ids, torch::ones({4, 1}), 4, 1.0);
  c.moe.capacity.eval_factor = 2.0;

  SECTION("in training") {
    CHECK(c.kept() == Flags{true, false, false, false});
  }
  SECTION("in evaluation") {
    c.context.training = false;
    CHECK(c.kept() == Flags{true, true, false, false});
  }
}

TEST_CASE("Renormalising divides by the weights of the kept") {
  const auto ids = torch::tensor({{0, 1}, {0, 1}});
  Case c(ids, torch::tensor({{0.6, 0.2}, {0.5, 0.5}}), 2, 0.5);  // capacity 1
  c.moe.capacity.renormalize = true;
  c.kept();

  CHECK(c.decision.weights_TK[0][0].item<float>() == Approx(0.75));
  CHECK(c.decision.weights_TK[1][0].item<float>() == 0.0f);
}

TEST_CASE("Without a factor everything is kept and nothing has a slot") {
  const auto ids = torch::tensor({{0, -1}, {0, 1}});
  Case c(ids, torch::ones({2, 2}), 2, 1.0);
  c.moe.capacity.factor.reset();

  CHECK(c.kept() == Flags{true, false, true, true});
  CHECK_FALSE(c.decision.slot_TK.defined());
}
