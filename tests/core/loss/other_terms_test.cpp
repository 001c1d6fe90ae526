#include <catch2/catch.hpp>
#include <cmath>

#include "core/moe/routers/router.h"
#include "tests/core/loss/term_case.h"
#include "tests/support/largest.h"

// importance, load, entropy, token_entropy, z and orthogonal by hand; every term against finite
// differences.

using namespace switchyard;

namespace {

RoutingDecision of_probs(const torch::Tensor& probs_TE) {
  RoutingDecision decision;
  decision.probs_TE = decision.scores_TE = probs_TE;
  decision.expert_ids_TK = torch::zeros({probs_TE.size(0), 1}, torch::kLong);
  return decision;
}

torch::Tensor leaf(const torch::Tensor& values) {
  return values.to(torch::kDouble).requires_grad_(true);
}

}  // namespace

TEST_CASE("importance: variance over squared mean of the summed combine weights") {
  RoutingDecision decision = of_probs(torch::full({2, 4}, 0.25, torch::kDouble));
  decision.expert_ids_TK = torch::tensor({{0, 1}, {0, 3}});
  decision.weights_TK = leaf(torch::tensor({{0.7, 0.3}, {0.6, 0.4}}, torch::kDouble));
  const auto result = evaluate(with_term(4, 2, term_options("importance")), decision, 2);

  // Sums (1.3, 0.3, 0, 0.4): mean 0.5, variance (0.64 + 0.04 + 0.25 + 0.01)/4 = 0.235.
  CHECK(result.value == Approx(0.94).epsilon(1e-14));
  result.surrogate.backward();
  // 2/(E mean²) · (sum − mean − variance/mean) = 2 (sum − 0.97)
  CHECK(apart(decision.weights_TK.grad(),
              torch::tensor({{0.66, -1.34}, {0.66, -1.14}}, torch::kDouble)) < 1e-14);
}

TEST_CASE("importance leaves out what a token did not select") {
  RoutingDecision decision = of_probs(torch::full({2, 2}, 0.5, torch::kDouble));
  decision.expert_ids_TK = torch::tensor({{0, -1}, {1, 0}});
  decision.weights_TK = leaf(torch::tensor({{1.0, 0.0}, {0.5, 0.5}}, torch::kDouble));
  // Sums (1.5, 0.5): mean 1, variance 0.25.
  CHECK(value(with_term(2, 2, term_options("importance")), decision, 2) ==
        Approx(0.25).epsilon(1e-14));
}

TEST_CASE("load: the same of the expected loads, and 0 where there is no noise") {
  RoutingDecision decision = of_probs(torch::full({2, 2}, 0.5, torch::kDouble));
  const auto moe = with_term(2, 1, term_options("load"));
  CHECK(value(moe, decision, 2) == 0.0);

  decision.load_TE = leaf(torch::tensor({{0.9, 0.1}, {0.6, 0.4}}, torch::kDouble));
  const auto result = evaluate(moe, decision, 2);
  // Loads (1.5, 0.5): mean 1, variance 0.25; gradient 1 · (load − 1 − 0.25).
  CHECK(result.value == Approx(0.25).epsilon(1e-14));
  result.surrogate.backward();
  CHECK(apart(decision.load_TE.grad(),
              torch::tensor({{0.25, -0.75}, {0.25, -0.75}}, torch::kDouble)) < 1e-14);
}

TEST_CASE("traps: the gradient of CV² at exact balance is finite and 0") {
  test::Largest worst;
  for (const auto* type : {"importance", "load"}) {
    CAPTURE(type);
    RoutingDecision decision = of_probs(torch::full({4, 4}, 0.25, torch::kDouble));
    decision.expert_ids_TK = torch::arange(4).reshape({4, 1});
    decision.weights_TK = leaf(torch::full({4, 1}, 0.25));
    decision.load_TE = leaf(torch::full({4, 4}, 0.25));
    const auto result = evaluate(with_term(4, 1, term_options(type)), decision, 2);
    CHECK(result.value == 0.0);
    result.surrogate.backward();
    const auto grad =
        decision.weights_TK.grad().defined() ? decision.weights_TK.grad() : decision.load_TE.grad();
    worst.see(grad.abs().max().item<double>());
  }
  CHECK(worst.value() == 0);
  worst.print("traps: the gradient of CV² at exact balance, from 0");
}

TEST_CASE("importance of a micro-batch in which nobody gets anything is 0, not NaN") {
  RoutingDecision decision = of_probs(torch::full({2, 2}, 0.5, torch::kDouble));
  decision.expert_ids_TK = torch::full({2, 1}, -1);
  decision.weights_TK = leaf(torch::zeros({2, 1}));
  const auto result = evaluate(with_term(2, 1, term_options("importance")), decision, 2);
  CHECK(result.value == 0.0);
  result.surrogate.backward();
  CHECK(decision.weights_TK.grad().eq(0).all().item<bool>());
}

TEST_CASE("entropy is ln E minus the entropy of the mean probabilities") {
  const auto moe = with_term(2, 1, term_options("entropy"));
  const auto split = of_probs(torch::tensor({{0.75, 0.25}, {0.25, 0.75}}, torch::kDouble));
  CHECK(value(moe, split, 2) == Approx(0.0).margin(1e-15));

  const auto same = of_probs(leaf(torch::tensor({{0.75, 0.25}, {0.75, 0.25}}, torch::kDouble)));
  const auto result = evaluate(moe, same, 2);
  CHECK(result.value == Approx(0.1308120359).epsilon(1e-9));  // ln 2 − 0.5623351446
  result.surrogate.backward();
  // (ln P + 1)/T
  const auto row = torch::tensor({(std::log(0.75) + 1) / 2, (std::log(0.25) + 1) / 2});
  CHECK(apart(same.probs_TE.grad(), fp64(torch::stack({row, row}))) < 1e-7);
}

TEST_CASE("token_entropy is the mean entropy of a token, with a coefficient of either sign") {
  auto term = term_options("token_entropy");
  term.coef = -2.0;
  const auto tokens = of_probs(leaf(torch::tensor({{0.75, 0.25}, {1.0, 0.0}}, torch::kDouble)));
  const auto result = evaluate(with_term(2, 1, term), tokens, 2);

  CHECK(result.terms[0][0] == Approx(0.5623351446 / 2).epsilon(1e-9));
  CHECK(result.value == Approx(-0.5623351446).epsilon(1e-9));
  result.surrogate.backward();
  const auto grad = tokens.probs_TE.grad();
  CHECK(grad[0][0].item<double>() == Approx(std::log(0.75) + 1));  // −2 · −(ln p + 1)/2
  CHECK(grad.isfinite().all().item<bool>());
}

TEST_CASE("z has the gradient 2 logsumexp softmax over T") {
  RoutingDecision decision;
  decision.logits_TE = leaf(torch::tensor({{0.0, 0.0}, {1.0, 1.0}}, torch::kDouble));
  evaluate(with_term(2, 1, term_options("z")), decision, 2).surrogate.backward();
  const double ln2 = std::log(2.0);
  CHECK(decision.logits_TE.grad()[0][0].item<double>() == Approx(ln2 / 2));
  CHECK(decision.logits_TE.grad()[1][1].item<double>() == Approx((1 + ln2) / 2));
}

TEST_CASE("orthogonal is the sum of |W Wᵀ − I|, once per step and on rank 0") {
  const auto terms = make_balance_terms(with_term(2, 1, term_options("orthogonal")));
  BalanceLoss loss(terms);
  loss.begin_step({});
  // W Wᵀ − I = ((4, 2), (2, 0)).
  const auto weight = leaf(torch::tensor({{1.0, 2.0}, {0.0, 1.0}}, torch::kDouble));

  const auto result = loss.evaluate_weights({weight, weight}, 0);
  CHECK(result.value == Approx(8.0));  // the mean over two layers
  result.surrogate.backward();
  // 2 sign(W Wᵀ − I) W, the mean of the two layers that share this weight
  CHECK(apart(weight.grad(), torch::tensor({{2.0, 6.0}, {2.0, 4.0}}, torch::kDouble)) < 1e-14);

  const auto elsewhere = loss.evaluate_weights({weight, weight}, 1);
  CHECK(elsewhere.value == result.value);
  CHECK_FALSE(elsewhere.surrogate.defined());

  auto comm = make_local_communicator();
  const auto decision = of_probs(torch::full({2, 2}, 0.5, torch::kDouble));
  const auto micro =
      loss.evaluate({{terms[0]->sequence_sums(decision, sequences_of(2))}}, 2, *comm);
  CHECK(micro.value == 0.0);
  CHECK_FALSE(micro.surrogate.defined());
}

namespace {

// The gradient of a value at `point` against differences of the value.
template <class Evaluate>
void check_slopes(const torch::Tensor& point, const Evaluate& evaluate_at) {
  const auto leaf_point = point.clone().requires_grad_(true);
  evaluate_at(leaf_point).surrogate.backward();
  const auto grad = leaf_point.grad().view({-1});
  CHECK(grad.abs().max().template item<double>() > 0);
  for (int64_t i = 0; i < point.numel(); ++i) {
    const double h = 1e-6;
    auto up = point.clone(), down = point.clone();
    up.view({-1})[i] += h;
    down.view({-1})[i] -= h;
    const double slope = (evaluate_at(up).value - evaluate_at(down).value) / (2 * h);
    CAPTURE(i);
    CHECK(grad[i].template item<double>() == Approx(slope).margin(2e-9));
  }
}

torch::Tensor random_logits() {
  torch::manual_seed(11);
  return torch::randn({6, 4}, torch::kDouble);
}

// Routes `point` and evaluates the one term of `moe`.
BalanceValue routed(const MoEOptions& moe, const RouterInputs& inputs, bool training = false) {
  RoutingContext context = sequences_of(3);
  context.training = training;
  return evaluate(moe, make_router(moe)->decide(inputs, {}, context), 3);
}

}  // namespace

TEST_CASE("Every term's gradient equals finite differences") {
  SECTION("by the logits") {
    for (const auto* type : {"load_balance", "device", "communication", "importance", "z",
                             "entropy", "token_entropy"}) {
      CAPTURE(type);
      auto term = term_options(type);
      term.groups = 2;
      const auto moe = with_term(4, 2, term);
      check_slopes(random_logits(), [&](const torch::Tensor& point) {
        return routed(moe, {point, {}, {}});
      });
    }
  }
  SECTION("load, by the clean logits and by those of the noise, through the threshold too") {
    auto moe = with_term(4, 2, term_options("load"));
    moe.router.type = "noisy_top_k";
    const auto logits = random_logits(), noise_logits = torch::randn({6, 4}, torch::kDouble);
    const auto noise = torch::randn({6, 4}, torch::kDouble) * 0.7;
    check_slopes(logits, [&](const torch::Tensor& point) {
      return routed(moe, {point, noise_logits, noise}, true);
    });
    check_slopes(noise_logits, [&](const torch::Tensor& point) {
      return routed(moe, {logits, point, noise}, true);
    });
  }
  SECTION("relu_l1, by the logits") {
    auto moe = with_term(4, 2, term_options("z"));
    moe.router.type = "relu";
    moe.balance.clear();
    check_slopes(random_logits(), [&](const torch::Tensor& point) {
      return routed(moe, {point, {}, {}});
    });
  }
  SECTION("orthogonal, by the weight") {
    const auto terms = make_balance_terms(with_term(4, 1, term_options("orthogonal")));
    BalanceLoss loss(terms);
    loss.begin_step({});
    check_slopes(random_logits(),
                 [&](const torch::Tensor& point) { return loss.evaluate_weights({point.t()}, 0); });
  }
}
