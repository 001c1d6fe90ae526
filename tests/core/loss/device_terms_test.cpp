#include "core/loss/device_terms.h"

#include <catch2/catch.hpp>

#include "tests/core/loss/term_case.h"

using namespace switchyard;

namespace {

// Two tokens, four experts in two groups {0, 1} and {2, 3}. c = (2, 1, 0, 1), P = (0.4, 0.25, 0.15,
// 0.2).
RoutingDecision two_tokens() {
  RoutingDecision decision;
  decision.probs_TE = torch::tensor({{0.4, 0.3, 0.2, 0.1}, {0.4, 0.2, 0.1, 0.3}}, torch::kDouble)
                          .requires_grad_(true);
  decision.scores_TE = decision.probs_TE;
  decision.expert_ids_TK = torch::tensor({{0, 1}, {0, 3}});
  return decision;
}

BalanceOptions grouped(const std::string& type, int64_t groups) {
  BalanceOptions term = term_options(type);
  term.has_groups = true;
  term.groups = groups;
  return term;
}

}  // namespace

TEST_CASE("device: mean load of a group times its probability") {
  const auto decision = two_tokens();
  const auto result = evaluate(with_term(4, 2, grouped("device", 2)), decision, 2);

  // 4 f = (2, 1, 0, 1): means 1.5 and 0.5; P'' = 0.65 and 0.35.
  CHECK(result.value == Approx(1.5 * 0.65 + 0.5 * 0.35).epsilon(1e-14));
  result.surrogate.backward();
  const auto row = torch::tensor({0.75, 0.75, 0.25, 0.25}, torch::kDouble);  // load / T
  CHECK(apart(decision.probs_TE.grad(), torch::stack({row, row})) < 1e-15);
}

TEST_CASE("device with one expert per group is load_balance") {
  const auto decision = two_tokens();
  auto plain = term_options("load_balance");
  plain.scope = "micro_batch";
  CHECK(value(with_term(4, 2, grouped("device", 4)), decision, 2) ==
        Approx(value(with_term(4, 2, plain), decision, 2)).epsilon(1e-14));
}

TEST_CASE("communication: tokens that reach a group times its probability") {
  const auto decision = two_tokens();
  auto moe = with_term(4, 2, grouped("communication", 2));

  SECTION("M = min(K, D) = 2") {
    const auto result = evaluate(moe, decision, 2);
    // Two tokens reach group 0, one reaches group 1: f'' = 2/(2·2) · (2, 1) = (1, 0.5).
    CHECK(result.value == Approx(0.65 + 0.5 * 0.35).epsilon(1e-14));
    result.surrogate.backward();
    const auto row = torch::tensor({0.5, 0.5, 0.25, 0.25}, torch::kDouble);
    CHECK(apart(decision.probs_TE.grad(), torch::stack({row, row})) < 1e-15);
  }
  SECTION("limited to one group: M = 1") {
    moe.router.groups = 2;
    moe.router.kept_groups = 1;
    CHECK(value(moe, decision, 2) == Approx(2 * 0.65 + 0.35).epsilon(1e-14));
  }
  SECTION("one branch of a hierarchy: M = 1 as well") {
    moe.router.type = "hierarchical";
    moe.router.branches = {2, 2};
    moe.router.kept = {1, 2};
    CHECK(value(moe, decision, 2) == Approx(2 * 0.65 + 0.35).epsilon(1e-14));
  }
  SECTION("one kept group that holds two of the term's: M = 2") {
    auto finer = with_term(4, 2, grouped("communication", 4));
    finer.router.groups = 2;
    finer.router.kept_groups = 1;
    // Experts 0 and 1 get both tokens' or one's choices: f'' = 4/(2·2) · tokens.
    auto wide = finer;
    wide.router.groups = wide.router.kept_groups = 1;
    CHECK(value(finer, decision, 2) == value(wide, decision, 2));
  }
  SECTION("more kept groups than the term has: M is the term's number") {
    moe.router.groups = 4;
    moe.router.kept_groups = 3;
    CHECK(value(moe, decision, 2) == Approx(0.65 + 0.5 * 0.35).epsilon(1e-14));
  }
}

TEST_CASE("Ranks that hold unequal numbers of experts are groups of those sizes") {
  const auto decision = two_tokens();
  // Three groups {0, 1}, {2}, {3}: means of 4 f 1.5, 0, 1; P'' = 0.65, 0.15, 0.2.
  CHECK(value(with_term(4, 2, grouped("device", 3)), decision, 2) ==
        Approx(1.5 * 0.65 + 0.2).epsilon(1e-14));
}

TEST_CASE("groups: ranks means the ranks of the expert axis") {
  const auto decision = two_tokens();
  auto moe = with_term(4, 2, grouped("device", 2));
  moe.balance[0].groups.reset();
  const auto of_ranks = make_balance_terms(moe, /*num_devices=*/2)[0];
  const auto sums = of_ranks->sequence_sums(decision, sequences_of(2));
  CHECK(of_ranks->value(sums, {2, {}}).item<double>() == Approx(1.15).epsilon(1e-14));
}
