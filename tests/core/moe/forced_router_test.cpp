#include "core/moe/routers/forced_router.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/error.h"

using namespace switchyard;

namespace {

MoEOptions forced(const std::string& law, double exponent = 0) {
  MoEOptions moe;
  moe.num_experts = 4;
  moe.top_k = 2;
  moe.router.type = "mixtral";
  moe.force = {law, exponent};
  return moe;
}

RoutingDecision decide(const MoEOptions& moe, const at::Tensor& logits, int64_t first_token = 0,
                       int64_t step = 0) {
  RoutingContext context;
  context.seed = 3;
  context.step = step;
  context.first_token = first_token;
  context.training = true;
  return make_router(moe)->decide({logits, {}, {}}, {}, context);
}

}  // namespace

TEST_CASE("Forced experts: round robin deals them out by global token") {
  const auto logits = torch::zeros({3, 4}, torch::kDouble);
  const auto ids = decide(forced("round_robin"), logits, 1).expert_ids_TK;
  CHECK(ids.equal(torch::tensor({{2, 3}, {0, 1}, {2, 3}}, torch::kLong)));
}

TEST_CASE("Forced experts: one sends every token to the first K") {
  const auto decision = decide(forced("one"), torch::randn({5, 4}, torch::kDouble));
  CHECK(decision.expert_ids_TK.equal(torch::tensor({{0, 1}}, torch::kLong).expand({5, 2})));
  CHECK(decision.counts_E.equal(torch::tensor({5, 5, 0, 0}, torch::kLong)));
}

TEST_CASE("Forced experts keep the router's own weights, with their gradient") {
  // logits (ln 1, ln 3, ln 5, ln 7): over experts 0 and 1 the softmax is 1/4, 3/4.
  auto logits = torch::tensor({{1.0, 3.0, 5.0, 7.0}}, torch::kDouble).log().requires_grad_(true);
  const auto decision = decide(forced("one"), logits);
  CHECK(decision.weights_TK[0][0].item<double>() == Approx(0.25));
  CHECK(decision.weights_TK[0][1].item<double>() == Approx(0.75));
  decision.weights_TK[0][0].backward();
  CHECK(logits.grad()[0][0].item<double>() == Approx(0.25 * 0.75));
  CHECK(logits.grad()[0][3].item<double>() == 0);
}

TEST_CASE("Forced experts are drawn by their law, without repeating one in a token") {
  const int64_t T = 20000;
  const auto logits = torch::zeros({T, 4}, torch::kDouble);
  SECTION("uniform: each expert has K/E of the tokens") {
    const auto decision = decide(forced("uniform"), logits);
    CHECK((decision.expert_ids_TK.select(1, 0) == decision.expert_ids_TK.select(1, 1))
              .sum()
              .item<int64_t>() == 0);
    for (int64_t e = 0; e < 4; ++e)
      CHECK(std::abs(decision.counts_E[e].item<double>() / T - 0.5) < 0.015);
  }
  SECTION("zipf 1: first choices follow 1, 1/2, 1/3, 1/4 over 25/12") {
    const auto first = decide(forced("zipf", 1.0), logits).expert_ids_TK.select(1, 0);
    const auto counts = count_experts(first, 4);
    for (int64_t e = 0; e < 4; ++e)
      CHECK(std::abs(counts[e].item<double>() / T - 12.0 / 25 / static_cast<double>(e + 1)) <
            0.015);
  }
  SECTION("a part of the tokens gets what it gets in the whole; another step something else") {
    const auto whole = decide(forced("uniform"), logits).expert_ids_TK;
    const auto part = decide(forced("uniform"), logits.narrow(0, 0, 100), 500).expert_ids_TK;
    CHECK(part.equal(whole.narrow(0, 500, 100)));
    CHECK_FALSE(decide(forced("uniform"), logits, 0, 1).expert_ids_TK.equal(whole));
  }
}
