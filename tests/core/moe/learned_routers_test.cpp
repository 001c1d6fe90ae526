#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/counter_rng.h"
#include "core/moe/routers/random.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

TEST_CASE("deepseek_v2 keeps the groups with the highest maximum and the plain scores") {
  // Groups {0,1}, {2,3}, {4,5}: maxima 0.3, 0.2, 0.15; sums would say the second.
  auto moe = router_options("deepseek_v2", 6, 2);
  moe.router.groups = 3;
  moe.router.kept_groups = 1;
  const auto decision = decide(moe, logs({0.3, 0.05, 0.2, 0.2, 0.15, 0.1}));
  CHECK(ids(decision) == std::vector<int64_t>{0, 1});
  CHECK(weight(decision, 0, 0) == Approx(0.3));
  CHECK(weight(decision, 0, 1) == Approx(0.05));

  moe.router.kept_groups = 2;
  CHECK(ids(decide(moe, logs({0.3, 0.05, 0.2, 0.2, 0.15, 0.1}))) == std::vector<int64_t>{0, 2});
}

TEST_CASE("noisy_top_k adds noise in training only and takes the softmax of the kept") {
  const auto moe = router_options("noisy_top_k", 4, 2);
  SECTION("evaluation: the clean logits") {
    const auto decision = decide(moe, logs({0.1, 0.2, 0.4, 0.3}));
    CHECK(ids(decision) == std::vector<int64_t>{2, 3});
    CHECK(weight(decision, 0, 0) == Approx(4.0 / 7));
    CHECK_FALSE(decision.load_TE.defined());
  }
  SECTION("the noise of a training step is a function of seed, step, layer, token and expert") {
    RoutingContext context = training_context();
    context.first_token = 100;
    const int64_t T = 20;
    const auto logits = torch::zeros({T, 4}, torch::kDouble);
    const auto decision = decide(moe, logits, {}, context);
    const double sigma = std::log(2.0) + 0.01;
    for (uint64_t t = 0; t < 20; ++t)
      for (uint64_t e = 0; e < 4; ++e)
        CHECK(
            decision.ranking_TE[static_cast<int64_t>(t)][static_cast<int64_t>(e)].item<double>() ==
            Approx(sigma * inverse_normal_cdf(uniform({5, 5, 3, 1, 100 + t, e}) + 0x1.0p-54)));
  }
  SECTION("noise logits widen the noise: softplus(3) + 0.01") {
    RouterInputs inputs{
        torch::zeros({1, 4}, torch::kDouble), torch::full({1, 4}, 3.0, torch::kDouble), {}};
    const auto wide = make_router(moe)->decide(inputs, {}, training_context());
    inputs.noise_logits_TE = torch::Tensor();
    const auto plain = make_router(moe)->decide(inputs, {}, training_context());
    const double ratio = (std::log1p(std::exp(3.0)) + 0.01) / (std::log(2.0) + 0.01);
    CHECK(torch::allclose(wide.ranking_TE, plain.ranking_TE * ratio));
  }
}

TEST_CASE("noisy_top_k gives Shazeer's load through the normal distribution") {
  // Logits 0 and noise (0.5, −1, 2, 1), K = 2: in are 2 and 3, whose threshold is the third value
  // 0.5; out are 0 and 1, whose threshold is the second value 1. σ = ln 2 + 0.01 = 0.70315.
  // Φ(−0.5/σ) = 0.23851, Φ(−1/σ) = 0.07749.
  const auto logits = torch::zeros({1, 4}, torch::kDouble).requires_grad_(true);
  const auto noise = torch::tensor({{0.5, -1.0, 2.0, 1.0}}, torch::kDouble);
  const auto router = make_router(router_options("noisy_top_k", 4, 2));
  const auto decision = router->decide({logits, {}, noise}, {}, training_context());

  CHECK(ids(decision) == std::vector<int64_t>{2, 3});
  CHECK(weight(decision, 0, 0) == Approx(1 / (1 + std::exp(-1.0))));
  const double in = 0.5 * std::erfc(0.5 / 0.7031471805599453 / std::sqrt(2.0));
  const double out = 0.5 * std::erfc(1.0 / 0.7031471805599453 / std::sqrt(2.0));
  CHECK(in == Approx(0.23851).margin(1e-5));
  CHECK(out == Approx(0.07749).margin(1e-5));
  const auto load = decision.load_TE[0];
  CHECK(load[2].item<double>() == Approx(in));
  CHECK(load[3].item<double>() == Approx(in));
  CHECK(load[0].item<double>() == Approx(out));
  CHECK(load[1].item<double>() == Approx(out));

  // d load₂ = φ(−0.5/σ)/σ = 0.44062 by its own logit, the opposite by that of the threshold.
  load[2].backward();
  CHECK(logits.grad()[0][2].item<double>() == Approx(0.44062).margin(1e-5));
  CHECK(logits.grad()[0][0].item<double>() == Approx(-0.44062).margin(1e-5));
  CHECK(logits.grad()[0][3].item<double>() == 0);
}

TEST_CASE("noisy_top_k with all experts selected loads each fully") {
  const auto decision =
      decide(router_options("noisy_top_k", 3, 3), logs({0.2, 0.5, 0.3}), {}, training_context());
  CHECK(decision.load_TE.equal(torch::ones({1, 3}, torch::kDouble)));
}

TEST_CASE("gumbel selects by perturbed logits and weighs by clean probabilities") {
  auto moe = router_options("gumbel", 4, 2);
  moe.router.temperature = 0.5;
  SECTION("evaluation: p over its sum") {
    const auto decision = decide(moe, logs({0.1, 0.2, 0.4, 0.3}));
    CHECK(ids(decision) == std::vector<int64_t>{2, 3});
    CHECK(weight(decision, 0, 0) == Approx(4.0 / 7));
  }
  SECTION("one expert keeps its p") {
    moe.top_k = 1;
    CHECK(weight(decide(moe, logs({0.1, 0.2, 0.4, 0.3})), 0, 0) == Approx(0.4));
  }
  SECTION("the keys of a training step") {
    RoutingContext context = training_context();
    context.first_token = 7;
    const auto decision = decide(moe, torch::zeros({3, 4}, torch::kDouble), {}, context);
    for (uint64_t e = 0; e < 4; ++e) {
      const double u = uniform({5, 6, 3, 1, 8, e}) + 0x1.0p-54;
      CHECK(decision.ranking_TE[1][static_cast<int64_t>(e)].item<double>() ==
            Approx(-2 * std::log(-std::log(u))));
    }
  }
}

TEST_CASE("gumbel passes the gradient of softmax(z) straight through") {
  auto moe = router_options("gumbel", 3, 1);
  moe.router.temperature = 0.5;
  const auto logits = logs({0.5, 0.3, 0.2}).requires_grad_(true);
  const auto decision = decide(moe, logits, {}, training_context());
  const int64_t k = ids(decision)[0];
  CHECK(weight(decision, 0, 0) == Approx(std::vector<double>{0.5, 0.3, 0.2}[k]));

  decision.weights_TK.sum().backward();
  const auto q = torch::softmax(decision.ranking_TE.detach(), -1)[0];
  for (int64_t e = 0; e < 3; ++e) {
    const double q_k = q[k].item<double>(), q_e = q[e].item<double>();
    CHECK(logits.grad()[0][e].item<double>() == Approx(q_k * ((e == k) - q_e) / 0.5));
  }
}

TEST_CASE("soft sends every token to all experts with its probabilities") {
  const auto decision = decide(router_options("soft", 4, 2), logs({0.1, 0.2, 0.4, 0.3}));
  CHECK(ids(decision) == std::vector<int64_t>{2, 3, 1, 0});
  CHECK(weight(decision, 0, 2) == Approx(0.2));
  CHECK(decision.counts_E.equal(torch::ones({4}, torch::kLong)));
}

TEST_CASE("relu sends a token to every expert with a positive score") {
  const auto logits =
      torch::tensor({{-1.0, 2.0, 0.0, 0.5}, {-1.0, -1.0, -2.0, 0.0}}, torch::kDouble);
  const auto decision = decide(router_options("relu", 4, 1), logits);
  CHECK(ids(decision) == std::vector<int64_t>{1, 3, -1, -1});
  CHECK(weight(decision, 0, 0) == 2.0);
  CHECK(weight(decision, 0, 1) == 0.5);
  CHECK(decision.probs_TE[0][1].item<double>() == Approx(0.8));
  CHECK(decision.weights_TK[1].abs().sum().item<double>() == 0);
  CHECK(decision.probs_TE[1].abs().sum().item<double>() == 0);

  const auto nobody = decide(router_options("relu", 4, 1), logits.narrow(0, 1, 1));
  CHECK(ids(nobody) == std::vector<int64_t>{-1});
}

TEST_CASE("hierarchical multiplies the group by the place inside and normalises over the kept") {
  // Groups 0.6 and 0.4; inside 0.5 0.3 0.2 and 0.1 0.2 0.7: products .30 .18 .12 | .04 .08 .28.
  auto moe = router_options("hierarchical", 6, 2);
  moe.router.branches = {2, 3};
  const auto logits =
      torch::log(torch::tensor({{0.6, 0.4, 0.5, 0.3, 0.2, 0.1, 0.2, 0.7}}, torch::kDouble));

  SECTION("two experts of the best group") {
    moe.router.kept = {1, 2};
    const auto decision = decide(moe, logits);
    CHECK(ids(decision) == std::vector<int64_t>{0, 1});
    CHECK(weight(decision, 0, 0) == Approx(0.30 / 0.48));
    CHECK(decision.ranking_TE[0][5].item<double>() == -std::numeric_limits<double>::infinity());
    CHECK(decision.ranking_TE[0][2].item<double>() == Approx(0.12));
  }
  SECTION("one expert of each group") {
    moe.router.kept = {2, 1};
    const auto decision = decide(moe, logits);
    CHECK(ids(decision) == std::vector<int64_t>{0, 5});
    CHECK(weight(decision, 0, 1) == Approx(0.28 / 0.58));
    CHECK(decision.probs_TE.sum().item<double>() == Approx(1.0));
  }
}

TEST_CASE("The overflow rule asks for weights of other experts") {
  const auto logits = logs({0.1, 0.2, 0.4, 0.3});
  const auto others = torch::tensor({{2, 1}});
  const auto ended = torch::tensor({{2, -1}});
  for (const auto* type : {"noisy_top_k", "gumbel"}) {
    CAPTURE(type);
    const auto router = make_router(router_options(type, 4, 2));
    const auto decision = router->decide({logits, {}, {}}, {}, {});
    CHECK(router->weights_of(decision, others)[0][1].item<double>() == Approx(1.0 / 3));
    CHECK(router->weights_of(decision, ended)[0][0].item<double>() == Approx(1.0));
    CHECK(router->weights_of(decision, ended)[0][1].item<double>() == 0);
  }
}
