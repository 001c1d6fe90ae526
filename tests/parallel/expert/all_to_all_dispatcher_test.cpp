#include "parallel/expert/all_to_all_dispatcher.h"

#include <torch/torch.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/expect.h"

using namespace switchyard;

namespace {

constexpr int64_t kWidth = 5;

/// The whole batch, as one process sees it; ranks take their rows.
struct Problem {
  std::vector<int64_t> tokens_of_rank;
  at::Tensor x_TD, ids_TK, weights_TK, kept_TK, experts_EDD, factor_TD;

  int64_t first_token(int rank) const {
    int64_t first = 0;
    for (int r = 0; r < rank; ++r) first += tokens_of_rank[static_cast<size_t>(r)];
    return first;
  }
  at::Tensor rows(const at::Tensor& tensor, int rank) const {
    return tensor.narrow(0, first_token(rank), tokens_of_rank[static_cast<size_t>(rank)]);
  }
};

Problem make_problem(std::vector<int64_t> tokens_of_rank, int64_t E, int64_t K, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  Problem problem;
  problem.tokens_of_rank = std::move(tokens_of_rank);
  int64_t T = 0;
  for (const int64_t n : problem.tokens_of_rank) T += n;
  const auto random = [&](at::IntArrayRef shape) {
    return at::randn(shape, generator, at::kDouble);
  };
  problem.x_TD = random({T, kWidth});
  problem.ids_TK = random({T, E}).argsort(int64_t{1}).narrow(1, 0, K).contiguous();
  problem.weights_TK = random({T, K});
  problem.kept_TK = random({T, K}) > -0.7;
  problem.ids_TK.masked_fill_(random({T, K}) > 1.2, -1);
  problem.experts_EDD = random({E, kWidth, kWidth});
  problem.factor_TD = random({T, kWidth});
  return problem;
}

struct Result {
  at::Tensor y_TD, x_grad, weights_grad, experts_grad;
};

at::Tensor expert(const at::Tensor& rows_RD, const at::Tensor& weight_DD) {
  return at::tanh(at::mm(rows_RD, weight_DD));
}

/// Token by token, choice by choice.
Result naive(const Problem& problem) {
  const at::Tensor x = problem.x_TD.clone().requires_grad_();
  const at::Tensor weights = problem.weights_TK.clone().requires_grad_();
  const at::Tensor experts = problem.experts_EDD.clone().requires_grad_();
  std::vector<at::Tensor> rows;
  for (int64_t t = 0; t < x.size(0); ++t) {
    at::Tensor y = at::zeros({1, kWidth}, at::kDouble);
    for (int64_t k = 0; k < weights.size(1); ++k) {
      const int64_t e = problem.ids_TK[t][k].item<int64_t>();
      if (e < 0 || !problem.kept_TK[t][k].item<bool>()) continue;
      y = y + weights[t][k] * expert(x.narrow(0, t, 1), experts[e]);
    }
    rows.push_back(y);
  }
  Result result;
  const at::Tensor y = at::cat(rows, 0);
  // The terms in zeros give every input a gradient, used or not.
  ((y * problem.factor_TD).sum() + 0 * x.sum() + 0 * weights.sum() + 0 * experts.sum()).backward();
  return {y.detach(), x.grad(), weights.grad(), experts.grad()};
}

at::Tensor run_experts(const Dispatched& dispatched, const std::vector<at::Tensor>& experts) {
  at::Tensor y_UD = at::zeros_like(dispatched.x_UD);
  for (size_t slot = 0; slot < experts.size(); ++slot) {
    const int64_t begin = dispatched.offsets_e[slot],
                  count = dispatched.offsets_e[slot + 1] - begin;
    const at::Tensor token = dispatched.row_token_R.narrow(0, begin, count);
    const at::Tensor weight = dispatched.row_weight_R.narrow(0, begin, count).unsqueeze(1);
    const at::Tensor rows = expert(dispatched.x_UD.index_select(0, token), experts[slot]);
    y_UD = y_UD.index_add(0, token, (weight * rows).to(y_UD.dtype()));
  }
  return y_UD;
}

/// This rank's part of the problem through the dispatcher, in fp64.
Result dispatched(const Problem& problem, TokenDispatcher& dispatcher, int rank) {
  const at::Tensor x = problem.rows(problem.x_TD, rank).clone().requires_grad_();
  const at::Tensor weights = problem.rows(problem.weights_TK, rank).clone().requires_grad_();
  std::vector<at::Tensor> experts;
  for (const int64_t e : dispatcher.local_experts())
    experts.push_back(problem.experts_EDD[e].clone().requires_grad_());
  RoutingDecision decision;
  decision.expert_ids_TK = problem.rows(problem.ids_TK, rank);
  decision.kept_TK = problem.rows(problem.kept_TK, rank);
  decision.weights_TK = weights;

  const auto handle = dispatcher.dispatch(x, decision);
  const at::Tensor y = handle->combine(run_experts(handle->received(), experts));
  at::Tensor loss = (y * problem.rows(problem.factor_TD, rank)).sum();
  for (const auto& weight : experts) loss = loss + 0 * weight.sum();
  loss.backward();
  Result result{y.detach(), x.grad(), weights.grad(), {}};
  std::vector<at::Tensor> grads;
  for (const auto& weight : experts) grads.push_back(weight.grad());
  if (!grads.empty()) result.experts_grad = at::stack(grads);
  return result;
}

bool close(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && at::allclose(a, b, 1e-12, 1e-12);
}

void expect_same_as_naive(const Problem& problem, const ExpertPlacement& placement) {
  const int ranks = placement.num_ranks();
  const Result expected = naive(problem);
  std::atomic<int> done = 0;
  run_ranks(ranks, [&](Communicator& comm) {
    const auto dispatcher = make_all_to_all_dispatcher(comm, placement);
    const Result result = dispatched(problem, *dispatcher, comm.rank());
    EXPECT(close(result.y_TD, problem.rows(expected.y_TD, comm.rank())));
    EXPECT(close(result.x_grad, problem.rows(expected.x_grad, comm.rank())));
    EXPECT(close(result.weights_grad, problem.rows(expected.weights_grad, comm.rank())));
    const auto& experts = dispatcher->local_experts();
    for (size_t slot = 0; slot < experts.size(); ++slot)
      EXPECT(close(result.experts_grad[slot], expected.experts_grad[experts[slot]]));
    ++done;
  });
  CHECK(done == ranks);
}

}  // namespace

TEST_CASE("tokens, weights and gradients travel as in a loop over tokens") {
  const int ranks = GENERATE(1, 2, 3, 4, 5);
  std::vector<int64_t> tokens;
  for (int r = 0; r < ranks; ++r) tokens.push_back(3 + (5 * r) % 7);
  SECTION("experts that divide") {
    expect_same_as_naive(make_problem(tokens, 2 * ranks, 2, 1), ExpertPlacement(2 * ranks, ranks));
  }
  SECTION("experts that do not divide") {
    expect_same_as_naive(make_problem(tokens, 2 * ranks + 1, 3, 2),
                         ExpertPlacement(2 * ranks + 1, ranks));
  }
  SECTION("fewer experts than ranks") {
    expect_same_as_naive(make_problem(tokens, 2, 1, 3), ExpertPlacement(2, ranks));
  }
  SECTION("experts in any order") {
    std::vector<std::vector<int64_t>> table(static_cast<size_t>(ranks));
    for (int64_t e = 0; e < 7; ++e)
      table[static_cast<size_t>((e * e + 1) % ranks)].insert(
          table[static_cast<size_t>((e * e + 1) % ranks)].begin(), e);
    expect_same_as_naive(make_problem(tokens, 7, 4, 4), ExpertPlacement(table));
  }
  SECTION("ranks without tokens") {
    std::vector<int64_t> some(static_cast<size_t>(ranks), 0);
    some[static_cast<size_t>(ranks / 2)] = 9;
    expect_same_as_naive(make_problem(some, 2 * ranks, 2, 5), ExpertPlacement(2 * ranks, ranks));
  }
  SECTION("no tokens at all") {
    Problem problem = make_problem(std::vector<int64_t>(static_cast<size_t>(ranks), 0), 4, 2, 6);
    run_ranks(ranks, [&](Communicator& comm) {
      const auto dispatcher = make_all_to_all_dispatcher(comm, ExpertPlacement(4, ranks));
      const Result result = dispatched(problem, *dispatcher, comm.rank());
      EXPECT(result.y_TD.sizes() == at::IntArrayRef({0, kWidth}));
    });
  }
  SECTION("one expert gets everything") {
    Problem problem = make_problem(tokens, 4, 1, 7);
    problem.ids_TK.fill_(3);
    problem.kept_TK.fill_(true);
    expect_same_as_naive(problem, ExpertPlacement(4, ranks));
  }
  SECTION("every token goes to all experts") {
    Problem problem = make_problem(tokens, 6, 6, 8);
    problem.kept_TK.fill_(true);
    expect_same_as_naive(problem, ExpertPlacement(6, ranks));
  }
  SECTION("every assignment is refused") {
    Problem problem = make_problem(tokens, 4, 2, 9);
    problem.kept_TK.fill_(false);
    expect_same_as_naive(problem, ExpertPlacement(4, ranks));
  }
}

TEST_CASE("each token arrives once, and rows are sorted by expert and global token") {
  constexpr int kRanks = 3;
  Problem problem = make_problem({6, 0, 5}, 5, 3, 11);
  // The first coordinate tells the token.
  problem.x_TD.select(1, 0).copy_(at::arange(11, at::kDouble));
  run_ranks(kRanks, [&](Communicator& comm) {
    const auto placement = ExpertPlacement(5, kRanks);
    const auto dispatcher = make_all_to_all_dispatcher(comm, placement);
    EXPECT(dispatcher->local_experts() == placement.experts_of(comm.rank()));
    RoutingDecision decision;
    decision.expert_ids_TK = problem.rows(problem.ids_TK, comm.rank());
    decision.kept_TK = problem.rows(problem.kept_TK, comm.rank());
    decision.weights_TK = problem.rows(problem.weights_TK, comm.rank());
    const auto handle = dispatcher->dispatch(problem.rows(problem.x_TD, comm.rank()), decision);
    const Dispatched received = handle->received();

    std::vector<std::vector<int64_t>> tokens_of(5);
    std::set<int64_t> unique;
    for (int64_t t = 0; t < 11; ++t) {
      for (int64_t k = 0; k < 3; ++k) {
        const int64_t e = problem.ids_TK[t][k].item<int64_t>();
        if (e < 0 || !problem.kept_TK[t][k].item<bool>()) continue;
        tokens_of[static_cast<size_t>(e)].push_back(t);
        if (placement.rank_of(e) == comm.rank()) unique.insert(t);
      }
    }
    EXPECT(received.x_UD.size(0) == static_cast<int64_t>(unique.size()));
    int64_t u = 0;
    for (const int64_t t : unique) EXPECT(received.x_UD[u++][0].item<double>() == t);
    int64_t row = 0;
    for (size_t slot = 0; slot < dispatcher->local_experts().size(); ++slot) {
      EXPECT(received.offsets_e[slot] == row);
      for (const int64_t t : tokens_of[static_cast<size_t>(dispatcher->local_experts()[slot])]) {
        const int64_t token = received.row_token_R[row++].item<int64_t>();
        EXPECT(received.x_UD[token][0].item<double>() == t);
      }
    }
    EXPECT(received.offsets_e.back() == row && received.row_token_R.numel() == row);
    handle->combine(received.x_UD);
  });
}

TEST_CASE("several exchanges may be under way, and repeated ones give the same bits") {
  const Problem problem = make_problem({4, 7, 2}, 6, 2, 13);
  run_ranks(3, [&](Communicator& comm) {
    const auto dispatcher = make_all_to_all_dispatcher(comm, ExpertPlacement(6, 3));
    const Result first = dispatched(problem, *dispatcher, comm.rank());
    RoutingDecision decision;
    decision.expert_ids_TK = problem.rows(problem.ids_TK, comm.rank());
    decision.kept_TK = problem.rows(problem.kept_TK, comm.rank());
    decision.weights_TK = problem.rows(problem.weights_TK, comm.rank());
    std::vector<at::Tensor> experts;
    for (const int64_t e : dispatcher->local_experts()) experts.push_back(problem.experts_EDD[e]);
    const at::Tensor x = problem.rows(problem.x_TD, comm.rank());
    const auto a = dispatcher->dispatch(x, decision);
    const auto b = dispatcher->dispatch(2 * x, decision);
    const Dispatched received_b = b->received();
    const Dispatched received_a = a->received();
    EXPECT(at::equal(a->combine(run_experts(received_a, experts)), first.y_TD));
    EXPECT(at::equal(b->combine(received_b.x_UD), 2 * a->combine(received_a.x_UD)));
    EXPECT(at::equal(dispatched(problem, *dispatcher, comm.rank()).x_grad, first.x_grad));
  });
}

TEST_CASE("the backward pass visits every rank, also where the experts did not use the tokens") {
  // Rank 1 holds no chosen expert and answers with rows of its own making.
  Problem problem = make_problem({4, 4}, 2, 1, 17);
  problem.ids_TK.fill_(0);
  problem.kept_TK.fill_(true);
  const auto body = [&](Communicator& comm) {
    const auto dispatcher = make_all_to_all_dispatcher(comm, ExpertPlacement(2, 2));
    const at::Tensor x = problem.rows(problem.x_TD, comm.rank()).clone().requires_grad_();
    RoutingDecision decision;
    decision.expert_ids_TK = problem.rows(problem.ids_TK, comm.rank());
    decision.kept_TK = problem.rows(problem.kept_TK, comm.rank());
    decision.weights_TK = problem.rows(problem.weights_TK, comm.rank());
    const auto handle = dispatcher->dispatch(x, decision);
    const Dispatched received = handle->received();
    const at::Tensor y = comm.rank() == 0 ? 3 * received.x_UD : at::zeros({0, kWidth}, at::kDouble);
    handle->combine(y).sum().backward();
    EXPECT(at::equal(x.grad(), at::full({4, kWidth}, 3.0, at::kDouble)));
  };
  CHECK_NOTHROW(run_ranks(2, body));
}

TEST_CASE("dtypes of tokens and weights are kept") {
  const auto [tokens, weights] = GENERATE(table<at::ScalarType, at::ScalarType>(
      {{at::kFloat, at::kFloat}, {at::kBFloat16, at::kFloat}, {at::kDouble, at::kDouble}}));
  const at::ScalarType token_dtype = tokens, weight_dtype = weights;
  const Problem problem = make_problem({4, 3}, 4, 3, 19);
  run_ranks(2, [&](Communicator& comm) {
    const auto dispatcher = make_all_to_all_dispatcher(comm, ExpertPlacement(4, 2));
    const at::Tensor x =
        problem.rows(problem.x_TD, comm.rank()).to(token_dtype).clone().requires_grad_();
    RoutingDecision decision;
    decision.expert_ids_TK = problem.rows(problem.ids_TK, comm.rank()).clone().fill_(0);
    decision.expert_ids_TK.select(1, 1).fill_(2);
    decision.expert_ids_TK.select(1, 2).fill_(-1);
    decision.kept_TK = at::ones({x.size(0), 3}, at::kBool);
    decision.weights_TK =
        problem.rows(problem.weights_TK, comm.rank()).to(weight_dtype).clone().requires_grad_();
    const auto handle = dispatcher->dispatch(x, decision);
    const Dispatched received = handle->received();
    EXPECT(received.x_UD.scalar_type() == token_dtype);
    EXPECT(received.row_weight_R.scalar_type() == weight_dtype);
    // Each rank answers with the token itself: two partial sums make twice the token, exactly.
    const at::Tensor y = handle->combine(received.x_UD);
    EXPECT(y.scalar_type() == token_dtype && at::equal(y, 2 * x));
    (y.sum() + received.row_weight_R.sum()).backward();
    EXPECT(x.grad().scalar_type() == token_dtype);
    EXPECT(at::equal(x.grad(), at::full_like(x, 2)));
    EXPECT(at::equal(decision.weights_TK.grad().narrow(1, 0, 2),
                     at::ones({x.size(0), 2}, weight_dtype)));
    EXPECT(decision.weights_TK.grad().select(1, 2).count_nonzero().item<int64_t>() == 0);
  });
}

TEST_CASE("a group of one rank hands the tokens over as they are") {
  const auto comm = make_local_communicator();
  const auto dispatcher = make_all_to_all_dispatcher(*comm, ExpertPlacement(4, 1));
  const Problem problem = make_problem({5}, 4, 2, 23);
  RoutingDecision decision;
  decision.expert_ids_TK = problem.ids_TK;
  decision.kept_TK = problem.kept_TK;
  decision.weights_TK = problem.weights_TK;
  CHECK(dispatcher->dispatch(problem.x_TD, decision)->received().x_UD.is_same(problem.x_TD));
  CHECK_THROWS_AS(make_all_to_all_dispatcher(*comm, ExpertPlacement(4, 2)), InternalError);
}
