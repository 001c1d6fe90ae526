#include "core/loss/balance_terms.h"

#include <catch2/catch.hpp>

#include "core/moe/routers/router.h"
#include "tests/core/loss/term_case.h"

using namespace switchyard;

namespace {

BalanceOptions load_balance(const std::string& scope) {
  BalanceOptions term;
  term.scope = scope;
  term.coef = 1.0;
  return term;
}

// Every expert is chosen equally often and every probability is 1/E.
RoutingDecision balanced(int64_t tokens, int64_t experts, int64_t k) {
  RoutingDecision decision;
  decision.logits_TE = torch::zeros({tokens, experts}, torch::kDouble);
  decision.probs_TE = decision.scores_TE = torch::softmax(decision.logits_TE, -1);
  decision.expert_ids_TK = torch::arange(tokens * k).remainder(experts).reshape({tokens, k});
  return decision;
}

}  // namespace

TEST_CASE("load_balance is 1 at perfect balance for every E, K and sequence length") {
  for (const int64_t experts : {4, 8, 60, 64})
    for (const int64_t k : {1, 2, 6, 8})
      for (const int64_t length : {1, 3}) {
        if (k > experts) continue;
        CAPTURE(experts, k, length);
        const auto decision = balanced(experts * length, experts, k);
        for (const auto* scope : {"micro_batch", "step"})
          CHECK(value(with_term(experts, k, load_balance(scope)), decision, length) ==
                Approx(1.0).epsilon(1e-12));
      }
}

TEST_CASE("load_balance of a hand-computed case") {
  // Tokens prefer experts 0, 0, 1: f = (2/3, 1/3); P = mean of the rows.
  RoutingDecision decision;
  decision.probs_TE = torch::tensor({{0.8, 0.2}, {0.6, 0.4}, {0.3, 0.7}}, torch::kDouble);
  decision.scores_TE = decision.probs_TE;
  decision.expert_ids_TK = torch::tensor({{0}, {0}, {1}});
  const double p0 = (0.8 + 0.6 + 0.3) / 3;

  SECTION("over the micro-batch") {
    const double expected = 2 * (2.0 / 3 * p0 + 1.0 / 3 * (1 - p0));
    CHECK(value(with_term(2, 1, load_balance("micro_batch")), decision, 3) == Approx(expected));
  }
  SECTION("per sequence of one token") {
    const double expected = 2 * (0.8 + 0.6 + 0.7) / 3;
    CHECK(value(with_term(2, 1, load_balance("sequence")), decision, 1) == Approx(expected));
  }
  SECTION("per group of two sequences, the last group smaller") {
    auto term = load_balance("sequences");
    term.scope_sequences = 2;
    const double expected = (2 * 2 * (1.0 * 0.7) + 2 * 0.7) / 3;
    CHECK(value(with_term(2, 1, term), decision, 1) == Approx(expected));
  }
}

TEST_CASE("Light experts: load_balance is 1 where each gets 1/τ of a feed-forward expert's load") {
  // Two feed-forward experts, one light one, τ = 1/2: Z = 2 + 1 / (1/2) = 4.
  RoutingDecision decision;
  decision.probs_TE = torch::tensor({0.25, 0.25, 0.5}, torch::kDouble).expand({4, 3}).contiguous();
  decision.scores_TE = decision.probs_TE;
  decision.expert_ids_TK = torch::tensor({{0}, {1}, {2}, {2}});
  MoEOptions moe = with_term(2, 1, load_balance("micro_batch"));
  moe.zero_experts = 1;
  moe.zero_compute_weight = 0.5;
  CHECK(value(moe.for_router(), decision, 4) == Approx(1.0).epsilon(1e-15));
  moe.zero_compute_weight = 1;  // 3 · (1/16 + 1/16 + 1/4)
  CHECK(value(moe.for_router(), decision, 4) == Approx(1.125).epsilon(1e-15));
}

TEST_CASE("first_choice counts first choices only; unbiased counts the top-K of the scores") {
  RoutingDecision decision;
  decision.probs_TE = torch::tensor({{0.5, 0.3, 0.2}, {0.5, 0.2, 0.3}}, torch::kDouble);
  decision.scores_TE = decision.probs_TE;
  decision.expert_ids_TK = torch::tensor({{2, 0}, {2, 1}});  // as a bias would choose
  auto term = load_balance("micro_batch");

  SECTION("first_choice") {
    term.first_choice = true;
    CHECK(value(with_term(3, 2, term), decision, 2) == Approx(3 * 0.25));
  }
  SECTION("unbiased") {
    term.count = "unbiased";  // {0, 1} and {0, 2}: f = (1/2, 1/4, 1/4)
    CHECK(value(with_term(3, 2, term), decision, 2) == Approx(3 * (0.25 + 0.0625 + 0.0625)));
  }
}

TEST_CASE("z is the mean squared logsumexp") {
  BalanceOptions term;
  term.type = "z";
  term.coef = 1.0;
  RoutingDecision decision;
  decision.logits_TE = torch::tensor({{0.0, 0.0}, {1.0, 1.0}}, torch::kDouble);
  const double ln2 = std::log(2.0);

  CHECK(value(with_term(2, 1, term), decision, 2) ==
        Approx((ln2 * ln2 + (1 + ln2) * (1 + ln2)) / 2));
}

TEST_CASE("The surrogate has the gradient of the value, f held fixed") {
  const auto moe = with_term(4, 2, load_balance("micro_batch"));
  const auto router = make_router(moe);
  const BalanceTerms terms = make_balance_terms(moe);
  torch::manual_seed(3);
  const auto logits = torch::randn({6, 4}, torch::kDouble).requires_grad_(true);
  const auto context = sequences_of(3);
  BalanceLoss loss(terms);
  auto comm = make_local_communicator();

  const auto decision = router->decide({logits, {}, {}}, {}, context);
  loss.evaluate({{terms[0]->sequence_sums(decision, context)}}, 3, *comm).surrogate.backward();

  const auto free = logits.detach().clone().requires_grad_(true);
  const auto f = decision.counts_E.to(torch::kDouble) / 12;
  (4 * (f * torch::softmax(free, -1).mean(0)).sum()).backward();
  CHECK((logits.grad() - free.grad()).abs().max().item<double>() < 1e-15);
}

TEST_CASE("Over a step f is the running count, or the exact one after a counting pass") {
  auto term = load_balance("step");
  // Two micro-batches of one token each; first goes to expert 0, second to expert 1.
  RoutingDecision first, second;
  first.probs_TE = first.scores_TE = torch::tensor({{0.75, 0.25}}, torch::kDouble);
  second.probs_TE = second.scores_TE = torch::tensor({{0.25, 0.75}}, torch::kDouble);
  first.expert_ids_TK = torch::tensor({{0}});
  second.expert_ids_TK = torch::tensor({{1}});
  const auto context = sequences_of(1);
  auto comm = make_local_communicator();

  SECTION("running") {
    const auto terms = make_balance_terms(with_term(2, 1, term));
    BalanceLoss loss(terms);
    loss.begin_step({});
    CHECK_FALSE(loss.needs_counting_pass());
    CHECK(loss.evaluate({{terms[0]->sequence_sums(first, context)}}, 1, *comm).value ==
          Approx(1.5));
    CHECK(loss.evaluate({{terms[0]->sequence_sums(second, context)}}, 1, *comm).value ==
          Approx(1.0));
    loss.begin_step({});
    CHECK(loss.evaluate({{terms[0]->sequence_sums(second, context)}}, 1, *comm).value ==
          Approx(1.5));
  }
  SECTION("exact") {
    term.f = "exact";
    const auto terms = make_balance_terms(with_term(2, 1, term));
    BalanceLoss loss(terms);
    loss.begin_step({});
    REQUIRE(loss.needs_counting_pass());
    for (const auto* decision : {&first, &second})
      loss.count({{terms[0]->sequence_sums(*decision, context)}}, *comm);
    CHECK(loss.evaluate({{terms[0]->sequence_sums(first, context)}}, 1, *comm).value ==
          Approx(1.0));
    CHECK(loss.evaluate({{terms[0]->sequence_sums(second, context)}}, 1, *comm).value ==
          Approx(1.0));
  }
}

TEST_CASE("coef may change by step") {
  auto term = load_balance("micro_batch");
  term.coef = StepValue({{0, 0.5}, {10, 0.25}, {20, 0.0}});
  const auto terms = make_balance_terms(with_term(4, 1, term));
  const auto decision = balanced(4, 4, 1);
  BalanceLoss loss(terms);
  auto comm = make_local_communicator();
  const auto at_step = [&](int64_t step) {
    loss.begin_step({step, 0});
    return loss.evaluate({{terms[0]->sequence_sums(decision, sequences_of(4))}}, 4, *comm).value;
  };

  CHECK(at_step(9) == Approx(0.5));
  CHECK(at_step(10) == Approx(0.25));
  CHECK(at_step(20) == 0.0);
}

TEST_CASE("Layers of different sizes share one list of terms: the mean over layers") {
  const auto terms = make_balance_terms(with_term(8, 2, load_balance("step")));
  BalanceLoss loss(terms);
  loss.begin_step({});
  auto comm = make_local_communicator();
  const auto small = balanced(4, 4, 2), large = balanced(4, 8, 2);
  const auto result = loss.evaluate({{terms[0]->sequence_sums(small, sequences_of(4))},
                                     {terms[0]->sequence_sums(large, sequences_of(4))}},
                                    4, *comm);

  CHECK(result.terms.size() == 2);
  CHECK(result.value == Approx(1.0).epsilon(1e-12));
}
