#include "core/metrics/evaluation_metrics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace switchyard {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();
using Table = std::vector<std::vector<int64_t>>;

/// Four tokens with experts {0, 1}, {0, 2}, {1, 0}, {2}: N = 3, 2, 2 on the diagonal.
Table small_table() {
  return {{3, 2, 1}, {2, 2, 0}, {1, 0, 2}};
}

LayerSums small_layer() {
  LayerSums sums;
  sums.counts_ME = {{3, 2, 2}};
  sums.domain_counts_DE = {{3, 2, 2}};
  sums.tokens = 4;
  sums.kept = 7;
  sums.computed_E = {4, 2, 1};
  sums.prob_sum_E = {2, 1, 1};
  return sums;
}

EvaluationLayer small_details() {
  EvaluationLayer layer;
  layer.pair_counts_EE = small_table();
  layer.token_counts = {3, 0, 0, 0, 2, 2};  // id 0 goes to expert 0, id 1 to the others
  layer.gap_sum = 1.5;
  layer.gap_tokens = 3;
  layer.mean_square_sum_E = {16, 2, 9};  // root mean squares 2, 1, 3
  layer.weight_norm_E = {4, 1, 2};
  return layer;
}

}  // namespace

TEST_CASE("co-activation is the share of an expert's tokens", "[evaluation_metrics]") {
  const auto shares = co_activation(small_table());
  CHECK(shares[0] == std::vector<double>{1, 2.0 / 3, 1.0 / 3});
  CHECK(shares[1] == std::vector<double>{1, 1, 0});
  CHECK(shares[2] == std::vector<double>{0.5, 0, 1});
  CHECK(mean_co_activation(small_table()) == Approx((2.0 / 3 + 1.0 / 3 + 1 + 0 + 0.5 + 0) / 6));
  CHECK(closest_co_activation(small_table()) == Approx((2.0 / 3 + 1 + 0.5) / 3));

  SECTION("with K experts for every token the mean is (K−1)/(E−1), whatever the pairs") {
    // Tokens {0, 1} four times, {2, 3} twice: each expert always with the same other.
    const Table pairs = {{4, 4, 0, 0}, {4, 4, 0, 0}, {0, 0, 2, 2}, {0, 0, 2, 2}};
    CHECK(mean_co_activation(pairs) == Approx(1.0 / 3));
    CHECK(closest_co_activation(pairs) == 1);
  }
  SECTION("an expert without tokens has no row") {
    const Table table = {{2, 2, 0}, {2, 2, 0}, {0, 0, 0}};
    CHECK(std::isnan(co_activation(table)[2][0]));
    CHECK(mean_co_activation(table) == 0.5);
    CHECK(closest_co_activation(table) == 1);
  }
  SECTION("one expert has no pairs") {
    CHECK(std::isnan(mean_co_activation({{5}})));
    CHECK(std::isnan(closest_co_activation({{5}})));
  }
}

TEST_CASE("the smallest value over the median", "[evaluation_metrics]") {
  CHECK(min_over_median({4, 1, 2}) == 0.5);
  CHECK(min_over_median({8, 1, 2, 4}) == Approx(1.0 / 3));
  CHECK(min_over_median({0, 3, 3}) == 0);
  CHECK(min_over_median({7}) == 1);
  CHECK(std::isnan(min_over_median({})));
  CHECK(std::isnan(min_over_median({0, 0, 5})));
}

TEST_CASE("evaluation metrics speak of the whole set", "[evaluation_metrics]") {
  const auto metrics = evaluation_metrics({small_layer()}, {small_details()}, 2);
  const auto value = [&](const std::string& name) {
    REQUIRE(metrics.count(name) == 1);
    return metrics.at(name)[0];
  };
  CHECK(value("max_vio_global") == Approx(3 / (7 / 3.0) - 1));
  CHECK(value("dead_experts") == 0);
  CHECK(metrics.count("max_vio") == 0);
  // H(id) = H(3/7, 4/7); knowing the expert is knowing the id: I = H(id) − (2−1)(3−1)/(2 · 7).
  const double ids = -3 / 7.0 * std::log(3 / 7.0) - 4 / 7.0 * std::log(4 / 7.0);
  CHECK(value("token_mi") == Approx(ids - 1 / 7.0).epsilon(1e-12));
  CHECK(value("co_activation") == Approx(2.5 / 6));
  CHECK(value("co_activation_max") == Approx(13 / 18.0));
  CHECK(value("top_k_gap") == 0.5);
  CHECK(value("activation_rms_min_over_median") == 0.5);
  CHECK(value("weight_norm_min_over_median") == 0.5);
}

TEST_CASE("an idle expert shows in the activations, one without weights in nothing",
          "[evaluation_metrics]") {
  LayerSums sums = small_layer();
  EvaluationLayer details = small_details();
  sums.computed_E = {4, 0, 1};
  details.mean_square_sum_E = {16, 0, 9};
  CHECK(evaluation_metrics({sums}, {details}, 2).at("activation_rms_min_over_median")[0] == 0);
  details.weight_norm_E[1] = kNone;
  const auto metrics = evaluation_metrics({sums}, {details}, 2);
  CHECK(metrics.at("activation_rms_min_over_median")[0] == Approx(2 / 2.5));
  CHECK(metrics.at("weight_norm_min_over_median")[0] == Approx(2 / 3.0));
}

TEST_CASE("what was left out is NaN", "[evaluation_metrics]") {
  EvaluationLayer details = small_details();
  details.token_counts.clear();
  details.gap_tokens = 0, details.gap_sum = 0;
  const auto metrics = evaluation_metrics({small_layer()}, {details}, 2);
  CHECK(std::isnan(metrics.at("token_mi")[0]));
  CHECK(std::isnan(metrics.at("top_k_gap")[0]));
}

}  // namespace switchyard
