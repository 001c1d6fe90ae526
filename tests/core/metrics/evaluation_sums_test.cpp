#include "core/metrics/evaluation_sums.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace switchyard {
namespace {

using Table = std::vector<std::vector<int64_t>>;
constexpr double kNone = -std::numeric_limits<double>::infinity();

at::Tensor integers(const std::vector<int64_t>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kLong).view(shape);
}

at::Tensor reals(const std::vector<double>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kDouble).view(shape);
}

/// Four tokens with experts {0, 1}, {0, 2}, {1, 0}, {2} of three; ids 4, 1, 4, 0 of five.
RoutingDecision small_decision() {
  RoutingDecision decision;
  decision.expert_ids_TK = integers({0, 1, 0, 2, 1, 0, 2, -1}, {4, 2});
  decision.ranking_TE = reals({0.5, 0.3, 0.2,    // gap of the second to the third 0.1
                               0.6, 0.0, 0.4,    // 0.4
                               0.4, 0.5, 0.1,    // 0.3
                               kNone, kNone, 1}  // the token may have one expert only
                              ,
                              {4, 3});
  return decision;
}

at::Tensor small_ids() {
  return integers({4, 1, 4, 0}, {4});
}

}  // namespace

TEST_CASE("an evaluation counts pairs, tokens and gaps", "[evaluation_sums]") {
  EvaluationSums sums({{3}, 2, 5}, at::kCPU);
  sums.accumulate(0, small_decision(), {}, small_ids());
  const EvaluationLayer layer = sums.layers()[0];
  CHECK(layer.pair_counts_EE == Table{{3, 2, 1}, {2, 2, 0}, {1, 0, 2}});
  CHECK(layer.token_counts == std::vector<int64_t>{0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 2, 2, 0});
  CHECK(layer.gap_sum == Approx(0.8).epsilon(1e-15));
  CHECK(layer.gap_tokens == 3);

  SECTION("a second pass adds") {
    sums.accumulate(0, small_decision(), {}, small_ids());
    CHECK(sums.layers()[0].pair_counts_EE == Table{{6, 4, 2}, {4, 4, 0}, {2, 0, 4}});
    CHECK(sums.layers()[0].gap_tokens == 6);
  }
  SECTION("where next_choice moved a choice, the router's own counts") {
    EvaluationSums moved({{3}, 2, 5}, at::kCPU);
    RoutingDecision decision = small_decision();
    decision.selected_TK = decision.expert_ids_TK;
    decision.expert_ids_TK = integers({0, 1, 0, 2, 1, 2, 2, -1}, {4, 2});
    moved.accumulate(0, decision, {}, small_ids());
    CHECK(moved.layers()[0].pair_counts_EE == layer.pair_counts_EE);
    CHECK(moved.layers()[0].token_counts == layer.token_counts);
  }
  SECTION("no tokens add nothing") {
    RoutingDecision none;
    none.expert_ids_TK = at::zeros({0, 2}, at::kLong);
    sums.accumulate(0, none, {}, at::zeros({0}, at::kLong));
    CHECK(sums.layers()[0].pair_counts_EE == layer.pair_counts_EE);
  }
}

TEST_CASE("layers of an evaluation may differ in experts, passes in columns", "[evaluation_sums]") {
  EvaluationSums sums({{2, 3}, 1, 5}, at::kCPU);
  RoutingDecision one;
  one.expert_ids_TK = integers({1, 0, 1}, {3, 1});
  sums.accumulate(0, one, {}, integers({0, 0, 3}, {3}));
  sums.accumulate(1, one, {}, integers({0, 0, 3}, {3}));
  sums.accumulate(1, small_decision(), {}, small_ids());
  const auto layers = sums.layers();
  CHECK(layers[0].pair_counts_EE == Table{{1, 0}, {0, 2}});
  CHECK(layers[0].token_counts == std::vector<int64_t>{1, 1, 0, 0, 0, 0, 0, 1, 0, 0});
  CHECK(layers[1].pair_counts_EE == Table{{4, 2, 1}, {2, 4, 0}, {1, 0, 2}});
  CHECK(layers[0].gap_tokens == 0);  // a router that ranks nothing
}

TEST_CASE("squares of outputs are added, norms taken from whoever has the expert",
          "[evaluation_sums]") {
  const EvaluationSums::Shape shape{{3}, 2, 0};
  EvaluationSums one(shape, at::kCPU), two(shape, at::kCPU);
  ExpertWork work;
  work.mean_square_sum_E = reals({1, 0, 2}, {3});
  one.accumulate(0, small_decision(), work, small_ids());
  one.accumulate(0, small_decision(), work, small_ids());
  work.mean_square_sum_E = reals({0, 5, 0}, {3});
  two.accumulate(0, small_decision(), work, small_ids());
  one.set_weight_norms(0, reals({3, kNone, 4}, {3}));
  two.set_weight_norms(0, reals({kNone, 2, 4}, {3}));
  one.integers().add_(two.integers());
  one.reals().add_(two.reals());
  one.maxima().copy_(one.maxima().maximum(two.maxima()));
  const EvaluationLayer layer = one.layers()[0];
  CHECK(layer.mean_square_sum_E == std::vector<double>{2, 5, 4});
  CHECK(layer.weight_norm_E == std::vector<double>{3, 2, 4});
  CHECK(layer.pair_counts_EE[0] == std::vector<int64_t>{9, 6, 3});
}

TEST_CASE("a token table beyond the limit is left out", "[evaluation_sums]") {
  EvaluationSums sums({{3}, 2, EvaluationSums::kMostTokenCells / 3 + 1}, at::kCPU);
  sums.accumulate(0, small_decision(), {}, small_ids());
  CHECK(sums.layers()[0].token_counts.empty());
  CHECK(sums.layers()[0].pair_counts_EE[0][0] == 3);
}

TEST_CASE("traps: counts above 2^24 stay exact in an evaluation", "[evaluation_sums]") {
  EvaluationSums sums({{3}, 2, 5}, at::kCPU);
  sums.integers().fill_(int64_t{1} << 53);
  sums.accumulate(0, small_decision(), {}, small_ids());
  CHECK(sums.layers()[0].pair_counts_EE[1][0] == (int64_t{1} << 53) + 2);
  CHECK(sums.layers()[0].token_counts[2] == (int64_t{1} << 53) + 1);
}

}  // namespace switchyard
