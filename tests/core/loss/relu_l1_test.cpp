#include "core/loss/relu_l1.h"

#include <catch2/catch.hpp>

#include "tests/core/loss/term_case.h"

using namespace switchyard;

TEST_CASE("relu_l1: scores weighted by how many tokens activate the expert") {
  RoutingDecision decision;
  decision.scores_TE = torch::tensor({{2.0, 0.0}, {1.0, 3.0}}, torch::kDouble).requires_grad_(true);
  decision.expert_ids_TK = torch::tensor({{0, -1}, {1, 0}});
  const auto term = make_relu_l1_term(/*top_k=*/1);
  BalanceLoss loss({term});
  loss.begin_step({0, 0.5});
  auto comm = make_local_communicator();
  const auto result = loss.evaluate({{term->sequence_sums(decision, sequences_of(1))}}, 1, *comm);

  // a = (E/K) · (1, 1/2) = (2, 1); (2·3 + 1·3)/2 = 4.5.
  CHECK(result.terms[0][0] == Approx(4.5));
  CHECK(result.value == Approx(0.5 * 4.5));
  result.surrogate.backward();
  const auto row = torch::tensor({0.5, 0.25}, torch::kDouble);  // coef · a/T
  CHECK(apart(decision.scores_TE.grad(), torch::stack({row, row})) < 1e-15);
}

TEST_CASE("relu_l1 comes with the relu router, after the terms that are written") {
  auto moe = with_term(4, 2, term_options("z"));
  moe.router.type = "relu";
  const auto terms = make_balance_terms(moe);
  REQUIRE(terms.size() == 2);
  CHECK(terms[1]->name() == "relu_l1");
  CHECK(terms[1]->coefficient({0, 3e-8}) == 3e-8);
}

TEST_CASE("λ moves by its rate towards K active experts per token") {
  ReluL1 l1(1e-8, 1.2, /*top_k=*/1);
  const auto counts = [](int64_t a, int64_t b) {
    return std::vector<torch::Tensor>{torch::tensor({a, int64_t{0}}),
                                      torch::tensor({int64_t{0}, b})};
  };

  l1.update(counts(3, 2), 2);  // 5 pairs active in two layers, 1·2·2 wanted: too dense
  CHECK(l1.coefficient() == Approx(1.2e-8).epsilon(1e-14));
  l1.update(counts(2, 2), 2);  // as wanted
  CHECK(l1.coefficient() == Approx(1.2e-8).epsilon(1e-14));
  l1.update(counts(1, 2), 2);
  l1.update(counts(0, 0), 2);
  CHECK(l1.coefficient() == Approx(1e-8 / 1.2).epsilon(1e-14));
  CHECK(l1.state().scalar_type() == torch::kDouble);
  CHECK(l1.state().sizes() == torch::IntArrayRef({1}));
}
