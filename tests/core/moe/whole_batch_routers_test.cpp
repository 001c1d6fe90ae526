#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <iostream>
#include <numeric>

#include "core/moe/routers/balanced_assignment.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

double objective(const torch::Tensor& scores_TE, const torch::Tensor& experts_T) {
  return scores_TE.gather(1, experts_T.unsqueeze(1)).sum().item<double>();
}

// The best sum over all balanced assignments, by trying each.
double best_by_trial(const torch::Tensor& scores_TE, int64_t token, std::vector<int64_t>& load) {
  const int64_t T = scores_TE.size(0), E = scores_TE.size(1);
  if (token == T) {
    const auto [least, most] = std::minmax_element(load.begin(), load.end());
    return *least >= T / E && *most <= (T + E - 1) / E ? 0.0 : -1e300;
  }
  double best = -1e300;
  for (int64_t e = 0; e < E; ++e) {
    if (load[e] == (T + E - 1) / E) continue;
    ++load[e];
    const double here = scores_TE.const_data_ptr<double>()[token * E + e];
    best = std::max(best, here + best_by_trial(scores_TE, token + 1, load));
    --load[e];
  }
  return best;
}

void check_balance(const torch::Tensor& experts_T, int64_t experts) {
  const int64_t T = experts_T.size(0);
  const auto counts = count_experts(experts_T, experts);
  CHECK(counts.min().item<int64_t>() >= T / experts);
  CHECK(counts.max().item<int64_t>() <= (T + experts - 1) / experts);
}

}  // namespace

TEST_CASE("expert_choice gives every expert its best tokens") {
  // Two experts, K = 1, T = 4: n = 2. p of expert 0 is 0.9 0.8 0.7 0.4, of expert 1 the rest:
  // expert 0 takes tokens 0, 1; expert 1 takes 3 (0.6), then 2 (0.3).
  auto moe = router_options("expert_choice", 2, 1);
  const auto logits =
      torch::log(torch::tensor({{0.9, 0.1}, {0.8, 0.2}, {0.7, 0.3}, {0.4, 0.6}}, torch::kDouble));

  SECTION("over the micro-batch") {
    const auto decision = decide(moe, logits);
    CHECK(ids(decision) == std::vector<int64_t>{0, 0, 1, 1});
    CHECK(weight(decision, 2, 0) == Approx(0.3));
    CHECK(decision.slot_TK.equal(torch::tensor({0, 1, 1, 0}).reshape({4, 1})));
    CHECK(decision.counts_E.equal(torch::tensor({2, 2})));
  }
  SECTION("over each sequence of two") {
    moe.router.pool = "sequence";
    RoutingContext context;
    context.sequence_length = 2;
    CHECK(ids(decide(moe, logits, {}, context)) == std::vector<int64_t>{0, 1, 0, 1});
  }
  SECTION("over pools of three tokens and one: n = 2, then 1") {
    moe.router.pool = "tokens";
    moe.router.pool_tokens = 3;
    // Pool {0,1,2}: expert 0 takes 0, 1; expert 1 takes 2, 1. Pool {3}: both take it.
    CHECK(ids(decide(moe, logits)) == std::vector<int64_t>{0, -1, 0, 1, 1, -1, 1, 0});
  }
  SECTION("evaluation by token choice") {
    RoutingContext context;
    context.selection = RoutingContext::Selection::kTokenChoice;
    const auto decision = decide(moe, logits, {}, context);
    CHECK(ids(decision) == std::vector<int64_t>{0, 0, 0, 1});
    CHECK(weight(decision, 2, 0) == Approx(0.7));
  }
  SECTION("equal scores go to the lower token") {
    const auto decision = decide(moe, torch::zeros({4, 2}, torch::kDouble));
    CHECK(ids(decision) == std::vector<int64_t>{0, 1, 0, 1, -1, -1, -1, -1});
  }
}

TEST_CASE("base fills every expert equally with the largest sum of logits") {
  // Greedy: all to expert 0. Balanced (two each): moving tokens 1 and 3 costs 1 + 2, the least.
  const auto logits =
      torch::tensor({{5.0, 0.0}, {3.0, 2.0}, {4.0, -1.0}, {1.0, -1.0}}, torch::kDouble);
  const auto moe = router_options("base", 2, 1);
  const auto decision = decide(moe, logits, {}, training_context());
  CHECK(ids(decision) == std::vector<int64_t>{0, 1, 0, 1});
  CHECK(weight(decision, 1, 0) == Approx(1 / (1 + std::exp(-2.0))));

  SECTION("evaluation is greedy, unless asked for the whole batch") {
    RoutingContext context;
    CHECK(ids(decide(moe, logits, {}, context)) == std::vector<int64_t>{0, 0, 0, 0});
    context.selection = RoutingContext::Selection::kWholeBatch;
    CHECK(ids(decide(moe, logits, {}, context)) == std::vector<int64_t>{0, 1, 0, 1});
  }
}

TEST_CASE("a balanced assignment is optimal: every small problem by trial") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const int64_t experts = 1 + static_cast<int64_t>(seed % 4);
    const int64_t tokens = static_cast<int64_t>(seed % 8);
    CAPTURE(seed, tokens, experts);
    const auto scores = random_matrix(tokens, experts, seed);
    const auto found = balanced_assignment(scores);
    check_balance(found, experts);
    std::vector<int64_t> load(static_cast<size_t>(experts), 0);
    CHECK(objective(scores, found) ==
          Approx(best_by_trial(scores, 0, load)).margin(1e-9).epsilon(0));
  }
}

TEST_CASE(
    "a balanced assignment of 4096 tokens to 64 experts: no exchange gains, within a second") {
  for (const bool skewed : {false, true}) {
    const int64_t T = 4096, E = 64;
    auto scores = random_matrix(T, E, 9);
    if (skewed) scores = scores * 0.3 + torch::linspace(0, 8, E, torch::kDouble);
    const auto begin = std::chrono::steady_clock::now();
    const auto found = balanced_assignment(scores);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    check_balance(found, E);
    const auto some = scores.narrow(0, 0, 1024), theirs = found.narrow(0, 0, 1024);
    const auto own = some.gather(1, theirs.unsqueeze(1));  // s of the chosen
    const auto other = some.index_select(1, theirs);       // [t, u] = s_{t, expert of u}
    const auto gain = other + other.t() - own - own.t();   // t and u change places
    CHECK(gain.max().item<double>() <= 1e-9);
    std::cout << "balanced assignment 4096 × 64" << (skewed ? ", skewed: " : ": ") << took.count()
              << " s\n";
    CHECK(took.count() < 5);
  }
}

TEST_CASE("a balanced assignment takes equal scores, one expert and values that are not finite") {
  check_balance(balanced_assignment(torch::zeros({10, 4})), 4);
  CHECK(balanced_assignment(torch::zeros({3, 1})).equal(torch::zeros({3}, torch::kLong)));
  CHECK(balanced_assignment(torch::zeros({0, 4})).numel() == 0);
  auto scores = random_matrix(9, 3, 1);
  scores[2][1] = std::numeric_limits<double>::quiet_NaN();
  scores[4] = -std::numeric_limits<double>::infinity();
  check_balance(balanced_assignment(scores), 3);
}

TEST_CASE("sinkhorn scales rows and columns before it selects") {
  // τ = 1, one round. κ = e^logit: ((8, 2), (6, 4)); v = (1/14, 1/6); u = 1/(κ v): token 0:
  // 8/14 = 0.571 against 2/6 = 0.333; token 1: 6/14 = 0.429 against 4/6 = 0.667.
  auto moe = router_options("sinkhorn", 2, 1);
  moe.router.rounds = 1;
  const auto logits = torch::log(torch::tensor({{8.0, 2.0}, {6.0, 4.0}}, torch::kDouble));
  const auto decision = decide(moe, logits, {}, training_context());
  CHECK(ids(decision) == std::vector<int64_t>{0, 1});
  CHECK(weight(decision, 1, 0) == Approx(4.0 / 5));  // σ(ln 4)
  const double u = 1 / (8.0 / 14 + 2.0 / 6);
  CHECK(decision.ranking_TE[0][0].item<double>() == Approx(std::log(u * 8 / 14)));

  SECTION("evaluation takes the logits as they are") {
    CHECK(ids(decide(moe, logits)) == std::vector<int64_t>{0, 0});
  }
  SECTION("two experts weigh by the softmax of all logits") {
    moe.top_k = 2;
    CHECK(weight(decide(moe, logits), 0, 1) == Approx(0.2));
  }
  SECTION("large logits do not overflow") {
    moe.router.rounds = 8;
    const auto wide = decide(moe, logits * 1e4, {}, training_context());
    CHECK(wide.ranking_TE.isfinite().all().item<bool>());
  }
}
