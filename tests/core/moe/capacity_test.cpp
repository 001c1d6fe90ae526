#include "core/moe/capacity.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/counter_rng.h"

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

TEST_CASE("traps: capacity at exact integers, it rounds up all others") {
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
  CHECK(c.decision.weights_TK[1][0].item<float>() == 0.5f);  // refused: keeps its own
}

TEST_CASE("Without a factor everything is kept and nothing has a slot") {
  const auto ids = torch::tensor({{0, -1}, {0, 1}});
  Case c(ids, torch::ones({2, 2}), 2, 1.0);
  c.moe.capacity.factor.reset();

  CHECK(c.kept() == Flags{true, false, true, true});
  CHECK_FALSE(c.decision.slot_TK.defined());
}

namespace {

// A router's decision on given probabilities, with a capacity.
struct Routed {
  MoEOptions moe;
  RoutingContext context;
  RoutingDecision decision;

  Routed(const std::string& type, int64_t top_k, std::vector<std::vector<double>> rows,
         double factor) {
    moe.router.type = type;
    moe.num_experts = static_cast<int64_t>(rows.front().size());
    moe.top_k = top_k;
    moe.capacity.factor = factor;
    moe.capacity.overflow = "next_choice";
    std::vector<torch::Tensor> tensors;
    for (const auto& row : rows) tensors.push_back(torch::tensor(row, torch::kDouble));
    logits = torch::log(torch::stack(tensors));
  }
  void run(const torch::Tensor& bias = {}) {
    const auto router = make_router(moe);
    decision = router->decide({logits, {}, {}}, bias, context);
    context.training = true;
    apply_capacity(moe.capacity, moe, context, decision, router.get());
  }
  double weight(int64_t token, int64_t column) const {
    return decision.weights_TK[token][column].item<double>();
  }
  torch::Tensor logits;
};

}  // namespace

TEST_CASE("next_choice sends a refused token down its ranking to the first expert with room") {
  // Capacity 0.75·1·4/3 = 1. First choices: 0, 0, 0, 1.
  Routed r("switch", 1, {{.7, .2, .1}, {.6, .3, .1}, {.5, .2, .3}, {.3, .6, .1}}, 0.75);
  r.run();
  // Seated: token 0 at 0, token 3 at 1. Token 1: 1 is full, 2 has room. Token 2: 2 is full by now.
  CHECK(r.decision.expert_ids_TK.equal(torch::tensor({{0}, {2}, {0}, {1}})));
  CHECK(r.decision.slot_TK.equal(torch::tensor({{0}, {0}, {-1}, {0}})));
  CHECK(r.decision.counts_E.equal(torch::tensor({3, 1, 0})));
  CHECK(r.decision.selected_TK.equal(torch::tensor({{0}, {0}, {0}, {1}})));
  CHECK(r.weight(1, 0) == Approx(0.1));
  CHECK(r.weight(2, 0) == Approx(0.5));
}

TEST_CASE("next_choice gives no token the same expert twice") {
  // Capacity 1·2·3/4 = 1.5 → 2; every token chooses 0, 1 and prefers 2 to 3.
  Routed r("mixtral", 2, {{.4, .3, .2, .1}, {.4, .3, .2, .1}, {.4, .3, .2, .1}}, 1.0);
  r.run();
  CHECK(r.decision.expert_ids_TK[2].equal(torch::tensor({2, 3})));
  CHECK(r.decision.slot_TK[2].equal(torch::tensor({0, 0})));
  CHECK(r.weight(2, 0) == Approx(2.0 / 3));
  CHECK(r.weight(2, 1) == Approx(1.0 / 3));
}

TEST_CASE("next_choice weights a still refused expert unless renormalised") {
  // Capacity 0.75·2·2/3 = 1. Token 1: expert 0 → 2, expert 1 stays refused.
  Routed r("mixtral", 2, {{.5, .3, .2}, {.5, .3, .2}}, 0.75);
  SECTION("as it is") {
    r.run();
    CHECK(r.decision.expert_ids_TK[1].equal(torch::tensor({2, 1})));
    CHECK(r.decision.slot_TK[1].equal(torch::tensor({0, -1})));
    CHECK(r.weight(1, 0) == Approx(0.4));
    CHECK(r.weight(1, 1) == Approx(0.6));
  }
  SECTION("renormalised") {
    r.moe.capacity.renormalize = true;
    r.run();
    CHECK(r.weight(1, 0) == Approx(1.0));
    CHECK(r.weight(1, 1) == Approx(0.6));  // refused: keeps its own
  }
}

TEST_CASE("next_choice stays inside the kept groups and follows the bias") {
  Routed r("top_k", 1, {{.4, .1, .3, .2}, {.4, .1, .3, .2}, {.4, .1, .3, .2}}, 1.0);  // capacity 1
  r.moe.router.normalize = false;
  SECTION("groups") {
    r.moe.router.groups = 2;
    r.run();
    CHECK(r.decision.expert_ids_TK.equal(torch::tensor({{0}, {1}, {0}})));
    CHECK(r.decision.kept_TK.equal(torch::tensor({{true}, {true}, {false}})));
  }
  SECTION("bias") {
    r.run(torch::tensor({0.0, 0.25, 0.0, 0.0}));  // ranking 0, 1, 2, 3: .4 .35 .3 .2
    CHECK(r.decision.expert_ids_TK.equal(torch::tensor({{0}, {1}, {2}})));
  }
}

TEST_CASE("gshard weighs the pair it ends with, and a lone first by the original sum") {
  Routed r("gshard", 2, {{.5, .3, .1, .1}}, 1.0);
  const auto router = make_router(r.moe);
  r.decision = router->decide({r.logits, {}, {}}, {}, {});
  const auto moved = router->weights_of(r.decision, torch::tensor({{2, 1}}));
  CHECK(moved[0][0].item<double>() == Approx(0.25));
  CHECK(moved[0][1].item<double>() == Approx(0.75));
  const auto lone = router->weights_of(r.decision, torch::tensor({{2, -1}}));
  CHECK(lone[0][0].item<double>() == Approx(0.125));
  CHECK(lone[0][1].item<double>() == 0.0);
  CHECK(router->weights_of(r.decision, r.decision.expert_ids_TK).equal(r.decision.weights_TK));
}

namespace {

// Six tokens of one expert that takes three, in random order.
Case random_order() {
  Case c(torch::zeros({6, 1}, torch::kLong), torch::ones({6, 1}), 2, 1.0);
  c.moe.capacity.order = "random";
  c.context.seed = 9;
  c.context.step = 4;
  c.context.layer = 2;
  c.context.first_token = 50;
  return c;
}

}  // namespace

TEST_CASE("Random order seats by the draw of seed, step, layer and token") {
  Case c = random_order();
  c.kept();
  std::vector<double> draws;
  for (uint64_t t = 0; t < 6; ++t) draws.push_back(uniform({9, 7, 4, 2, 50 + t, 0}));
  for (size_t t = 0; t < 6; ++t) {
    const auto place =
        std::count_if(draws.begin(), draws.end(), [&](double other) { return other < draws[t]; });
    CHECK(c.decision.slot_TK[static_cast<int64_t>(t)].item<int64_t>() == (place < 3 ? place : -1));
  }
}

TEST_CASE("traps: evaluation is noise-free, random order goes by position") {
  Case c = random_order();
  c.context.training = false;
  CHECK(c.kept() == Flags{true, true, true, false, false, false});
  c.context.seed = 10;
  CHECK(c.kept() == Flags{true, true, true, false, false, false});
}

TEST_CASE("Groups of sequences share a capacity, and the last may be smaller") {
  const auto ids = torch::zeros({6, 1}, torch::kLong);
  Case c(ids, torch::ones({6, 1}), 2, 1.0);
  c.moe.capacity.scope = "sequences";
  c.moe.capacity.scope_sequences = 2;
  c.context.sequence_length = 2;  // groups of 4 and 2 tokens: capacity 2 and 1
  CHECK(c.kept() == Flags{true, true, false, false, true, false});
  CHECK(c.decision.slot_TK.reshape({-1}).equal(torch::tensor({0, 1, -1, -1, 0, -1})));
}

TEST_CASE("A capacity of at least min, and the factor that moves") {
  const auto ids = torch::zeros({4, 1}, torch::kLong);
  Case c(ids, torch::ones({4, 1}), 4, 1.0);  // capacity 1
  SECTION("min") {
    c.moe.capacity.min = 3;
    CHECK(c.kept() == Flags{true, true, true, false});
  }
  SECTION("moved in training and in evaluation by the same factor") {
    c.context.capacity_factor = 2.0;
    c.context.training = GENERATE(true, false);
    CHECK(c.kept() == Flags{true, true, false, false});
  }
  SECTION("but a given eval_factor stays") {
    c.context.capacity_factor = 2.0;
    c.context.training = false;
    c.moe.capacity.eval_factor = 3.0;
    CHECK(c.kept() == Flags{true, true, true, false});
  }
  SECTION("token choice in evaluation is dropless") {
    c.context.training = false;
    c.context.selection = RoutingContext::Selection::kTokenChoice;
    CHECK(c.kept() == Flags{true, true, true, true});
    CHECK_FALSE(c.decision.slot_TK.defined());
  }
}

TEST_CASE("The dynamic factor goes by five per cent towards the wanted drop rate") {
  const DynamicCapacity options{1.0, 2.0, 0.1};
  CHECK(next_capacity_factor(options, 1.5, 0.2) == Approx(1.575));
  CHECK(next_capacity_factor(options, 1.5, 0.05) == Approx(1.5 / 1.05));
  CHECK(next_capacity_factor(options, 1.5, 0.1) == 1.5);
  CHECK(next_capacity_factor(options, 1.99, 0.2) == 2.0);
  CHECK(next_capacity_factor(options, 1.0, 0.0) == 1.0);
}

TEST_CASE("traps: one expert gets everything, the rest of a rank's tokens are refused") {
  const auto ids = torch::zeros({8, 1}, torch::kLong);
  Case c(ids, torch::ones({8, 1}), 4, 1.0);
  const Flags kept = c.kept();
  CHECK(std::count(kept.begin(), kept.end(), true) == 2);
}
