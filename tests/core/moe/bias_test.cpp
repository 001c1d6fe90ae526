#include "core/moe/bias.h"

#include <catch2/catch.hpp>

#include "core/moe/routers/router.h"

using namespace switchyard;

namespace {

struct Rule {
  BiasOptions options;
  BiasState state;

  Rule(const std::string& type, int64_t experts) {
    options.type = type;
    options.rate = 0.5;
    restart(experts);
  }
  void restart(int64_t experts) { state = make_bias_state(options, experts); }
  void step(std::vector<int64_t> counts, int64_t number = 0) {
    BiasStep step;
    step.counts_E = torch::tensor(counts, torch::kLong);
    step.step = number;
    update_bias(options, step, state);
  }
  void check(std::vector<double> expected) {
    for (size_t e = 0; e < expected.size(); ++e) {
      CAPTURE(e);
      CHECK(state.bias_E[static_cast<int64_t>(e)].item<double>() ==
            Approx(expected[e]).margin(1e-6));
    }
  }
};

}  // namespace

TEST_CASE("The sign rule raises the starved, lowers the crowded and leaves the mean alone") {
  Rule rule("sign", 4);
  rule.step({10, 2, 4, 0});  // mean 4
  CHECK(rule.state.bias_E.equal(torch::tensor({-0.5f, 0.5f, 0.0f, 0.5f})));
}

TEST_CASE("traps: counts above 2^24, the sign rule compares integers") {
  Rule rule("sign", 2);
  const int64_t big = (int64_t{1} << 24) + 1;
  rule.step({big, big - 2});
  CHECK(rule.state.bias_E[0].item<float>() < 0);
  CHECK(rule.state.bias_E[1].item<float>() > 0);
}

TEST_CASE("Without a rule there is no bias") {
  Rule rule("none", 2);
  rule.step({5, 1});
  CHECK_FALSE(rule.state.bias_E.defined());
}

TEST_CASE("The proportional rule moves by the relative distance from the mean") {
  Rule rule("proportional", 4);
  rule.step({10, 2, 4, 0});  // (4 − c)/4 = −1.5, 0.5, 0, 1; times 0.5
  rule.check({-0.75, 0.25, 0, 0.5});
}

TEST_CASE("The multiplicative rule starts at one and moves by the sign") {
  Rule rule("multiplicative", 4);
  rule.check({1, 1, 1, 1});
  rule.step({10, 2, 4, 0});
  rule.check({0.5, 1.5, 1, 1.5});
}

TEST_CASE("A multiplicative bias multiplies the scores, also those of the groups") {
  MoEOptions moe;
  moe.num_experts = 4;
  moe.top_k = 1;
  moe.router.type = "switch";
  moe.bias.type = "multiplicative";
  const auto logits = torch::log(torch::tensor({{0.4, 0.3, 0.2, 0.1}}, torch::kDouble));
  const auto bias = torch::tensor({0.5, 0.5, 1.0, 1.5}, torch::kDouble);
  // s·b = 0.2, 0.15, 0.2, 0.15: the tie goes to expert 0; s + b would choose expert 3.
  const auto decision = make_router(moe)->decide({logits, {}, {}}, bias, {});
  CHECK(decision.expert_ids_TK.item<int64_t>() == 0);
  CHECK(decision.weights_TK.item<double>() == Approx(0.4));

  moe.router.type = "top_k";
  moe.router.normalize = false;
  moe.router.groups = 2;  // the best of s·b: group {0, 1} 0.2, group {2, 3} 0.25
  const auto other = torch::tensor({0.5, 0.5, 1.25, 1.5}, torch::kDouble);
  CHECK(make_router(moe)->decide({logits, {}, {}}, other, {}).expert_ids_TK.item<int64_t>() == 2);
}

TEST_CASE("The PID rule adds error, sum of errors and change of error") {
  Rule rule("pid", 2);
  rule.options.kp = 1;
  rule.options.ki = 0.1;
  rule.options.kd = 10;
  // e = (mean − c)/mean. Counts 6, 2: −0.5, 0.5. Then 5, 3: −0.25, 0.25; Σe = −0.75, 0.75.
  rule.step({6, 2});
  rule.check({-0.5 - 0.05 - 5, 0.5 + 0.05 + 5});
  rule.step({5, 3});
  rule.check({-5.55 - 0.25 - 0.075 + 2.5, 5.55 + 0.25 + 0.075 - 2.5});
}

TEST_CASE("The moving average decides, not the step alone") {
  Rule rule("sign", 2);
  rule.options.ema = 0.75;
  rule.restart(2);
  rule.step({8, 0});  // average 2, 0
  rule.check({-0.5, 0.5});
  rule.step({3, 5});  // average 2.25, 1.25: the first is still ahead
  rule.check({-1, 1});
  rule.step({0, 8});  // average 1.6875, 2.9375
  rule.check({-0.5, 0.5});
}

TEST_CASE("An averaged balance is a balance, whatever the rounding") {
  for (const double beta : {0.1, 0.3, 0.9, 0.999}) {
    Rule rule("sign", 7);
    rule.options.ema = beta;
    rule.restart(7);
    rule.step({13, 13, 13, 13, 13, 13, 13});
    rule.check({0, 0, 0, 0, 0, 0, 0});
  }
}

TEST_CASE("zero_mean subtracts the mean of the biases") {
  Rule rule("sign", 4);
  rule.options.zero_mean = true;
  rule.step({10, 2, 4, 0});  // −0.5, 0.5, 0, 0.5 less 0.125
  rule.check({-0.625, 0.375, -0.125, 0.375});
}

TEST_CASE("The rate follows its steps and a frozen bias stays") {
  Rule rule("sign", 2);
  rule.options.rate = StepValue(std::map<int64_t, double>{{0, 0.5}, {10, 0.25}});
  rule.options.freeze_after = 20;
  rule.step({3, 1}, 9);
  rule.check({-0.5, 0.5});
  rule.step({3, 1}, 10);
  rule.check({-0.75, 0.75});
  rule.step({3, 1}, 19);
  rule.check({-1, 1});
  rule.step({3, 1}, 20);
  rule.check({-1, 1});
}

TEST_CASE("A step without tokens moves nothing") {
  for (const auto* type : {"sign", "proportional", "pid"}) {
    Rule rule(type, 2);
    rule.step({0, 0});
    rule.check({0, 0});
  }
}

TEST_CASE("The quantile rule takes four tokens over four experts from MaxVio 1 to 0") {
  // Sixteenths. K = 1: experts 0, 1, 0, 1, so that max c / mean − 1 = 1.
  const auto s_TE =
      torch::tensor({{10, 4, 2, 0}, {4, 10, 0, 2}, {8, 2, 7, 0}, {2, 8, 0, 7}}, torch::kDouble) /
      16;
  CHECK(count_experts(s_TE.argmax(1), 4).equal(torch::tensor({2, 2, 0, 0})));
  // θ, the second largest: 4, 4, 7, 7. Margins s − θ:
  //    6   0  −2  −4
  //    0   6  −4  −2
  //    1  −5   0  −7
  //   −5   1  −7   0
  // The (⌊4·1/4⌋ + 1) = 2nd largest of each column: 1, 1, −2, −2; b = −that less its mean 0.5.
  Rule rule("quantile", 4);
  rule.state.bias_E = rule.state.bias_E.to(torch::kDouble);
  BiasStep step;
  step.counts_E = torch::tensor({2, 2, 0, 0});
  step.margins = {quantile_margins(s_TE, {}, 1)};
  update_bias(rule.options, step, rule.state);
  rule.check({-1.5 / 16, -1.5 / 16, 1.5 / 16, 1.5 / 16});
  CHECK(
      count_experts((s_TE + rule.state.bias_E).argmax(1), 4).equal(torch::ones({4}, torch::kLong)));
}

TEST_CASE("Margins are measured against the biased threshold") {
  // s + b: 0.5, 0.4, 0.9: the second largest is 0.5; the margins are those of s itself.
  const auto margins = quantile_margins(torch::tensor({{0.5, 0.4, 0.1}}, torch::kDouble),
                                        torch::tensor({0.0, 0.0, 0.8}, torch::kDouble), 1);
  CHECK(margins[0][0].item<double>() == Approx(0.0).margin(1e-15));
  CHECK(margins[0][2].item<double>() == Approx(-0.4));
}

TEST_CASE("The quantile rule takes all micro-batches as one step") {
  torch::manual_seed(5);
  const auto s_TE = torch::rand({12, 5}, torch::kDouble);
  const auto bias_with = [&](std::vector<int64_t> sizes) {
    Rule rule("quantile", 5);
    BiasStep step;
    step.top_k = 2;
    for (const auto& part : s_TE.split_with_sizes(sizes))
      step.margins.push_back(quantile_margins(part, {}, 2));
    update_bias(rule.options, step, rule.state);
    return rule.state.bias_E;
  };
  CHECK(bias_with({12}).equal(bias_with({5, 0, 7})));
}
