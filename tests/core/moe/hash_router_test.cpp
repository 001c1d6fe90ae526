#include "core/moe/routers/hash_router.h"

#include <catch2/catch.hpp>

#include "core/base/counter_rng.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

RoutingDecision decide_ids(const MoEOptions& moe, const std::vector<int64_t>& token_ids,
                           int64_t length) {
  RoutingContext context;
  context.seed = 3;
  context.sequence_length = length;
  context.token_ids_T = torch::tensor(token_ids);
  return make_router(moe, {10, torch::arange(10)})->decide({}, {}, context);
}

int64_t hashed(std::initializer_list<uint64_t> coordinates) {
  return static_cast<int64_t>(hash(coordinates) % 8);
}

}  // namespace

TEST_CASE("hash sends equal ids to equal experts, everywhere and without scores") {
  const auto moe = router_options("hash", 8, 2);
  const auto decision = decide_ids(moe, {4, 7, 4}, 3);
  CHECK(decision.expert_ids_TK[0].equal(decision.expert_ids_TK[2]));
  CHECK(ids(decision)[0] == hashed({3, 41, 4, 0}));
  CHECK(ids(decision)[2] == hashed({3, 41, 7, 0}));
  CHECK(weight(decision, 0, 1) == 0.5);
  CHECK_FALSE(decision.logits_TE.defined());
  CHECK_FALSE(decision.probs_TE.defined());
  CHECK(make_router(moe)->logit_columns(8) == 0);
}

TEST_CASE("hash by bigram takes the id before, and the vocabulary's size at a sequence's start") {
  auto moe = router_options("hash", 8, 1);
  moe.router.table = "bigram";
  const auto decision = decide_ids(moe, {4, 7, 4, 7}, 2);
  CHECK(ids(decision)[0] == hashed({3, 43, 10, 4, 0}));
  CHECK(ids(decision)[1] == hashed({3, 43, 4, 7, 0}));
  CHECK(ids(decision)[2] == hashed({3, 43, 10, 4, 0}));
}

TEST_CASE("hash takes distinct experts: all of them for K = E") {
  const auto decision = decide_ids(router_options("hash", 8, 8), {1}, 1);
  CHECK(std::get<0>(decision.expert_ids_TK[0].sort()).equal(torch::arange(8)));
}

TEST_CASE("a balanced table deals ids by falling frequency to the emptiest experts") {
  // Frequencies 5, 9, 2, 9, 1 over two experts: 1 (9) → 0, 3 (9) → 1, 0 (5) → 0: 14, 2 (2) → 1: 11,
  // 4 (1) → 1: 12.
  const auto counts = torch::tensor({5, 9, 2, 9, 1});
  CHECK(balanced_table(counts, 2, 1).equal(torch::tensor({0, 0, 1, 1, 1}).reshape({5, 1})));
  // Two of three experts for each: 1 → 0, 1; 3 → 2, then the lower of 0 and 1; 0 → 1, 2 (9 each).
  CHECK(balanced_table(counts, 3, 2)
            .slice(0, 0, 4)
            .equal(torch::tensor({{1, 2}, {0, 1}, {1, 2}, {2, 0}})));
}
