#include "core/moe/routers/router.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/counter_rng.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

TEST_CASE("switch sends a token to its best expert with the softmax score") {
  const auto decision = decide(router_options("switch", 4, 1), logs({0.1, 0.2, 0.4, 0.3}));

  CHECK(ids(decision) == std::vector<int64_t>{2});
  CHECK(weight(decision, 0, 0) == Approx(0.4));
  CHECK(decision.counts_E.sum().item<int64_t>() == 1);
}

TEST_CASE("mixtral renormalises over the kept, deepseek_moe does not") {
  const auto logits = logs({0.1, 0.2, 0.4, 0.3});

  const auto mixtral = decide(router_options("mixtral", 4, 2), logits);
  CHECK(ids(mixtral) == std::vector<int64_t>{2, 3});
  CHECK(weight(mixtral, 0, 0) == Approx(4.0 / 7));
  CHECK(weight(mixtral, 0, 1) == Approx(3.0 / 7));

  const auto deepseek = decide(router_options("deepseek_moe", 4, 2), logits);
  CHECK(weight(deepseek, 0, 0) == Approx(0.4));
  CHECK(weight(deepseek, 0, 1) == Approx(0.3));
}

TEST_CASE("top_k takes softmax, sigmoid and sqrtsoftplus scores, normalised or not") {
  const auto logits = torch::tensor({{0.0, 1.0, -1.0}}, torch::kDouble);
  auto moe = router_options("top_k", 3, 2);
  const double sigmoid0 = 0.5, sigmoid1 = 1 / (1 + std::exp(-1.0));
  const double root0 = std::sqrt(std::log(2.0)), root1 = std::sqrt(std::log1p(std::exp(1.0)));

  SECTION("sigmoid, normalised over the selected") {
    moe.router.score = "sigmoid";
    const auto decision = decide(moe, logits);
    CHECK(ids(decision) == std::vector<int64_t>{1, 0});
    CHECK(weight(decision, 0, 0) == Approx(sigmoid1 / (sigmoid0 + sigmoid1)));
  }
  SECTION("sigmoid as it is") {
    moe.router.score = "sigmoid";
    moe.router.normalize = false;
    CHECK(weight(decide(moe, logits), 0, 0) == Approx(sigmoid1));
  }
  SECTION("square root of softplus") {
    moe.router.score = "sqrtsoftplus";
    const auto decision = decide(moe, logits);
    CHECK(weight(decision, 0, 1) == Approx(root0 / (root0 + root1)));
  }
  SECTION("probabilities of sigmoid scores sum to one") {
    moe.router.score = "sigmoid";
    CHECK(decide(moe, logits).probs_TE.sum().item<double>() == Approx(1.0));
  }
}

TEST_CASE("Ties go to the lower expert") {
  for (const auto* type : {"mixtral", "top_k", "deepseek_moe", "deepseek_v3"}) {
    CAPTURE(type);
    const auto decision =
        decide(router_options(type, 64, 4), torch::zeros({2, 64}, torch::kDouble));
    CHECK(ids(decision) == std::vector<int64_t>{0, 1, 2, 3, 0, 1, 2, 3});
  }
}

TEST_CASE("A bias moves the selection and never the weights") {
  const auto logits = logs({0.1, 0.2, 0.4, 0.3});
  const auto bias = torch::tensor({0.9, 0.0, 0.0, 0.0});

  const auto decision = decide(router_options("deepseek_moe", 4, 2), logits, bias);

  CHECK(ids(decision) == std::vector<int64_t>{0, 2});
  CHECK(weight(decision, 0, 0) == Approx(0.1));
}

TEST_CASE("deepseek_v3 keeps the groups with the highest sum of two") {
  // Groups {0,1}, {2,3}, {4,5}: sums of sigmoids 0.9+0.1, 0.6+0.6, 0.7+0.2.
  auto moe = router_options("deepseek_v3", 6, 2);
  moe.router.groups = 3;
  moe.router.kept_groups = 1;
  const auto s = torch::tensor({{0.9, 0.1, 0.6, 0.6, 0.7, 0.2}}, torch::kDouble);

  SECTION("without a bias group 1 wins, although expert 0 is the best of all") {
    const auto decision = decide(moe, torch::logit(s));
    CHECK(ids(decision) == std::vector<int64_t>{2, 3});
    CHECK(weight(decision, 0, 0) == Approx(0.5));
  }
  SECTION("negative biased scores inside a kept group beat every expert outside") {
    const auto bias = torch::tensor({-2.0, -2.0, -1.0, -1.0, -2.0, -2.0});
    CHECK(ids(decide(moe, torch::logit(s), bias)) == std::vector<int64_t>{2, 3});
  }
  SECTION("a bias can move the group") {
    const auto bias = torch::tensor({0.3, 0.3, 0.0, 0.0, 0.0, 0.0});
    CHECK(ids(decide(moe, torch::logit(s), bias)) == std::vector<int64_t>{0, 1});
  }
}

TEST_CASE("top_k with softmax scores keeps the groups with the highest maximum") {
  auto moe = router_options("top_k", 6, 2);
  moe.router.groups = 3;
  moe.router.kept_groups = 1;
  CHECK(ids(decide(moe, logs({0.3, 0.05, 0.2, 0.2, 0.15, 0.1}))) == std::vector<int64_t>{0, 1});
}

TEST_CASE("gshard keeps the second expert when twice its weight beats the draw") {
  const int64_t T = 64;
  const auto logits = logs({0.7, 0.2, 0.1}).expand({T, 3}).contiguous();
  const double g2 = 0.2 / 0.9;
  RoutingContext context = training_context();
  context.first_token = 100;

  const auto decision = decide(router_options("gshard", 3, 2), logits, {}, context);

  int64_t kept = 0;
  for (int64_t t = 0; t < T; ++t) {
    const bool expected = 2 * g2 > uniform({5, 4, 3, 1, static_cast<uint64_t>(100 + t), 0});
    kept += expected;
    CHECK(decision.expert_ids_TK[t][1].item<int64_t>() == (expected ? 1 : -1));
    CHECK(weight(decision, t, 0) == Approx(0.7 / 0.9));
  }
  CHECK(kept > 0);
  CHECK(kept < T);
  CHECK(decision.counts_E[1].item<int64_t>() == kept);

  context.training = false;
  CHECK(decide(router_options("gshard", 3, 2), logits, {}, context).counts_E[1].item<int64_t>() ==
        T);
}

TEST_CASE("Probabilities pass gradients to the logits") {
  for (const auto& type : router_types()) {
    if (type == "hash") continue;  // has none
    CAPTURE(type);
    const MoEOptions moe = valid_options(type, 6, 2);
    const auto logits =
        torch::randn({5, make_router(moe)->logit_columns(6)}, torch::kDouble).requires_grad_(true);
    decide(moe, logits).probs_TE.square().sum().backward();
    CHECK(logits.grad().isfinite().all().item<bool>());
    CHECK(logits.grad().abs().max().item<double>() > 0);
  }
}

TEST_CASE("Counts ignore the empty columns") {
  const auto counts = count_experts(torch::tensor({{0, -1}, {2, 0}}), 4);
  CHECK(counts.equal(torch::tensor({2, 0, 1, 0})));
}
