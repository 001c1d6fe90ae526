#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <limits>
#include <random>

#include "core/base/partition.h"
#include "core/moe/options/router_traits.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr int kCases = 2000;
constexpr int64_t kLength = 3, kVocabulary = 11;

struct Case {
  uint64_t seed;
  MoEOptions moe;
  torch::Tensor logits_TE, ids_T;
  bool training;
};

// Sizes, options and logits of one case; a third of the cases has many equal logits.
Case make_case(const std::string& type, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
  const int64_t experts = 2 * (1 + below(5));
  Case c;
  c.seed = seed;
  c.moe = valid_options(type, experts, 1 + below(experts));
  c.training = below(2) == 1;
  RouterOptions& router = c.moe.router;
  router.score = std::vector<std::string>{"softmax", "sigmoid", "sqrtsoftplus"}[below(3)];
  router.pool = std::vector<std::string>{"micro_batch", "sequence", "tokens"}[below(3)];
  router.pool_tokens = 1 + below(8);
  router.table = std::vector<std::string>{"random", "balanced", "bigram"}[below(3)];
  const int64_t tokens = kLength * below(6);
  auto generator = at::detail::createCPUGenerator(seed);
  const int64_t columns = type == "hierarchical" ? 2 + experts : experts;
  c.logits_TE = 2 * at::randn({tokens, columns}, generator, torch::kDouble);
  if (below(3) == 0) c.logits_TE = c.logits_TE.round();
  if (below(2) == 0) c.logits_TE = c.logits_TE.to(torch::kFloat);
  c.ids_T = at::randint(kVocabulary, {tokens}, generator, torch::kLong);
  return c;
}

RouterResources resources() {
  return {kVocabulary, torch::arange(kVocabulary).flip(0)};
}

RoutingDecision decide_block(const Case& c, int rank, int ranks, Communicator* comm) {
  const Share block = block_of(rank, ranks, c.logits_TE.size(0) / kLength);
  RoutingContext context = training_context();
  context.training = c.training;
  context.communicator = comm;
  context.sequence_length = kLength;
  context.first_token = block.first * kLength;
  const int64_t count = block.count * kLength;
  context.token_ids_T = c.ids_T.narrow(0, context.first_token, count);
  RouterInputs inputs;
  inputs.logits_TE = c.logits_TE.narrow(0, context.first_token, count);
  return make_router(c.moe, resources())->decide(inputs, {}, context);
}

// −1 and 0 in the columns that only other tokens need.
torch::Tensor widened(const torch::Tensor& columns_TK, int64_t experts, double empty) {
  return torch::constant_pad_nd(columns_TK, {0, experts - columns_TK.size(1)}, empty);
}

// "" if the decision keeps every promise of the router.
std::string broken_promise(const Case& c, const RoutingDecision& d) {
  const int64_t T = c.logits_TE.size(0), E = c.moe.num_experts, K = d.expert_ids_TK.size(1);
  if (K < 1 || d.weights_TK.sizes() != d.expert_ids_TK.sizes()) return "columns";
  if (!d.counts_E.equal(count_experts(d.expert_ids_TK, E))) return "counts";
  const auto ids = d.expert_ids_TK.accessor<int64_t, 2>();
  const auto weights_TK = d.weights_TK.to(torch::kDouble);
  const auto weights = weights_TK.accessor<double, 2>();
  const auto ranking_TE =
      d.ranking_TE.defined() ? d.ranking_TE.to(torch::kDouble).contiguous() : torch::Tensor();
  const bool normalised = router_traits(c.moe.router, c.moe.top_k).normalises;
  int64_t widest = 0;
  for (int64_t t = 0; t < T; ++t) {
    double sum = 0;
    int64_t chosen = 0;
    for (int64_t k = 0; k < K; ++k) {
      if (std::isnan(weights[t][k])) return "a weight is NaN";
      if (ids[t][k] < -1 || ids[t][k] >= E) return "an expert out of range";
      if (ids[t][k] < 0) {
        if (weights[t][k] != 0) return "a weight without an expert";
        continue;
      }
      for (int64_t j = 0; j < k; ++j)
        if (ids[t][j] == ids[t][k]) return "an expert twice";
      ++chosen;
      sum += weights[t][k];
    }
    widest = std::max(widest, chosen);
    const bool whole = c.moe.router.type != "gshard" || chosen == 2;
    if (normalised && whole && std::abs(sum - 1) > 1e-5) return "weights do not add up to 1";
    if (!ranking_TE.defined()) continue;
    const auto keys = ranking_TE.accessor<double, 2>()[t];
    for (int64_t k = 0; k + 1 < chosen; ++k) {
      const int64_t a = ids[t][k], b = ids[t][k + 1];
      if (keys[a] < keys[b] || (keys[a] == keys[b] && a > b)) return "choices out of order";
    }
    if (c.moe.router.type == "hierarchical" || !whole) continue;
    const int64_t last = ids[t][chosen - 1];
    for (int64_t e = 0; e < E; ++e) {
      bool taken = false;
      for (int64_t k = 0; k < chosen; ++k) taken = taken || ids[t][k] == e;
      if (!taken && (keys[e] > keys[last] || (keys[e] == keys[last] && e < last)))
        return "a better expert left out";
    }
  }
  const bool fits = router_traits(c.moe.router, c.moe.top_k).fixed_columns
                        ? K == c.moe.top_k
                        : K == std::max<int64_t>(widest, 1);
  return fits || T == 0 ? "" : "columns that nobody needs";
}

// The tail of an elementwise loop is computed without vectors, so a sigmoid may differ in its last
// bit with a token's place in its rank's tensor.
bool same_to_the_last_bits(const torch::Tensor& a, const torch::Tensor& b) {
  return torch::allclose(a, b, a.scalar_type() == torch::kDouble ? 1e-14 : 1e-6, 0);
}

}  // namespace

TEST_CASE("properties of every router: 2,000 random cases, the same experts on 1, 2 and 4 ranks") {
  for (const auto& type : router_types()) {
    const uint64_t first_seed = 1000;
    std::vector<Case> cases;
    std::vector<torch::Tensor> ids, weights;
    for (uint64_t seed = first_seed; seed < first_seed + kCases; ++seed) {
      cases.push_back(make_case(type, seed));
      const Case& c = cases.back();
      const auto decision = decide_block(c, 0, 1, nullptr);
      const auto again = decide_block(c, 0, 1, nullptr);
      std::string problem = broken_promise(c, decision);
      if (!decision.expert_ids_TK.equal(again.expert_ids_TK) ||
          !decision.weights_TK.equal(again.weights_TK))
        problem = "a second call decides otherwise";
      if (!problem.empty()) FAIL_CHECK(type << ", seed " << seed << ": " << problem);
      ids.push_back(widened(decision.expert_ids_TK, c.moe.num_experts, -1));
      weights.push_back(widened(decision.weights_TK, c.moe.num_experts, 0));
    }
    for (const int ranks : {2, 4}) {
      std::vector<int> wrong(static_cast<size_t>(ranks), -1);
      run_ranks(ranks, [&](Communicator& world) {
        for (int i = 0; i < kCases; ++i) {
          const Case& c = cases[i];
          const auto d = decide_block(c, world.rank(), ranks, &world);
          const Share block = block_of(world.rank(), ranks, c.logits_TE.size(0) / kLength);
          const int64_t first = block.first * kLength, count = block.count * kLength;
          const int64_t E = c.moe.num_experts;
          if (!widened(d.expert_ids_TK, E, -1).equal(ids[i].narrow(0, first, count)) ||
              !same_to_the_last_bits(widened(d.weights_TK, E, 0),
                                     weights[i].narrow(0, first, count)))
            wrong[world.rank()] = i;
        }
      });
      for (const int i : wrong)
        if (i >= 0)
          FAIL_CHECK(type << ", seed " << cases[i].seed << ": differs on " << ranks << " ranks");
    }
    std::cout << "properties: " << type << ", seeds " << first_seed << " to "
              << first_seed + kCases - 1 << "\n";
    SUCCEED(type);
  }
}
