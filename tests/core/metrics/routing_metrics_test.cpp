#include "core/metrics/routing_metrics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/base/counter_rng.h"

namespace switchyard {
namespace {

using Counts = std::vector<int64_t>;

/// Two experts, six tokens, top-1, two micro-batches, two domains.
LayerSums small_layer() {
  LayerSums sums;
  sums.counts_ME = {{3, 0}, {1, 2}};
  sums.domain_counts_DE = {{3, 0}, {1, 2}};
  sums.kept = 5;
  sums.tokens = 6;
  sums.tokens_without_expert = 1;
  sums.device_pairs = 5;
  sums.received_N = {2, 3};
  sums.computed_E = {3, 2};
  sums.repeats = 1, sums.neighbours = 4;
  sums.moved = 2, sums.biased_tokens = 5;
  sums.prob_sum_E = {3.6, 2.4};
  sums.entropy_sum = 3.0;
  sums.z_sum = 12.0;
  sums.logit_max = 2.5;
  return sums;
}

}  // namespace

TEST_CASE("load metrics go from balanced to collapsed as defined", "[routing_metrics]") {
  SECTION("perfect balance") {
    const Counts counts = {5, 5, 5, 5};
    CHECK(max_vio(counts) == 0);
    CHECK(load_cv(counts) == 0);
    CHECK(load_entropy(counts) == Approx(1));
    CHECK(load_max(counts) == 1);
    CHECK(load_min(counts) == 1);
    CHECK(dead_experts(counts) == 0);
  }
  SECTION("one expert gets everything: E/K − 1 for K = 1") {
    const Counts counts = {20, 0, 0, 0};
    CHECK(max_vio(counts) == 3);
    CHECK(load_cv(counts) == Approx(std::sqrt(3)));
    CHECK(load_entropy(counts) == 0);
    CHECK(load_max(counts) == 4);
    CHECK(load_min(counts) == 0);
    CHECK(dead_experts(counts) == 3);
  }
  SECTION("in between") {
    const Counts counts = {6, 3, 2, 1};
    CHECK(max_vio(counts) == 1);
    CHECK(load_cv(counts) == Approx(std::sqrt(3.5) / 3));
    CHECK(load_min(counts) == Approx(1.0 / 3));
  }
  SECTION("one expert alone is balanced") {
    CHECK(max_vio({7}) == 0);
    CHECK(load_entropy({7}) == 1);
    CHECK(max_vio_floor(1, 1, 7) == 0);
  }
}

TEST_CASE("traps: counts above 2^24 give the metrics of their ratios", "[routing_metrics]") {
  CHECK(max_vio({(int64_t{1} << 24) + 1, (int64_t{1} << 24) - 1}) ==
        Approx(std::exp2(-24)).epsilon(1e-6));
  for (const int64_t unit : {int64_t{1} << 25, int64_t{1} << 54}) {
    const Counts counts = {6 * unit, 3 * unit, 2 * unit, unit};
    CHECK(max_vio(counts) == Approx(1).epsilon(1e-15));
    CHECK(load_cv(counts) == Approx(std::sqrt(3.5) / 3).epsilon(1e-15));
    CHECK(dead_experts({unit, 200 * unit}) == 1);
    CHECK(domain_information({{unit, 0}, {0, unit}}) == Approx(std::log(2)).epsilon(1e-7));
  }
}

TEST_CASE("an expert is dead below one percent of the mean", "[routing_metrics]") {
  CHECK(dead_experts({1, 199}) == 0);  // exactly 1 % of 100
  CHECK(dead_experts({0, 200}) == 1);
  CHECK(dead_experts({3, 397, 400}) == 0);
  CHECK(dead_experts({2, 398, 400}) == 1);
}

TEST_CASE("the expected maximum of normals has its known values", "[routing_metrics]") {
  CHECK(expected_normal_maximum(1) == Approx(0).margin(1e-14));
  CHECK(expected_normal_maximum(2) == Approx(1 / std::sqrt(std::numbers::pi)).epsilon(1e-13));
  CHECK(expected_normal_maximum(3) == Approx(1.5 / std::sqrt(std::numbers::pi)).epsilon(1e-13));
  // Tables of normal order statistics (Harter 1961).
  CHECK(expected_normal_maximum(4) == Approx(1.02938).margin(5e-6));
  CHECK(expected_normal_maximum(5) == Approx(1.16296).margin(5e-6));
  CHECK(expected_normal_maximum(10) == Approx(1.53875).margin(5e-6));
  CHECK(expected_normal_maximum(100) == Approx(2.50759).margin(5e-6));
}

TEST_CASE("the floor of max_vio is what blind choice gives", "[routing_metrics]") {
  constexpr int64_t kExperts = 16, kTokens = 4096, kTrials = 400;
  double sum = 0;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    Counts counts(kExperts, 0);
    for (uint64_t t = 0; t < kTokens; ++t) {
      // Two distinct experts of sixteen.
      const auto first = hash({9, trial, t, 0}) % kExperts;
      const auto second = hash({9, trial, t, 1}) % (kExperts - 1);
      ++counts[first];
      ++counts[second + (second >= first)];
    }
    sum += max_vio(counts) / kTrials;
  }
  CHECK(max_vio_floor(kExperts, 2, kTokens) == Approx(sum).epsilon(0.03));
  CHECK(max_vio_floor(8, 8, 100) == 0);
  CHECK(max_vio_floor(4, 8, 100) == 0);  // a soft router in a layer with fewer experts
}

TEST_CASE("domain information is the domain's entropy at most and zero without a bond",
          "[routing_metrics]") {
  SECTION("each domain has its own expert") {
    const double miller_madow = 3.0 * 3 / (2 * 4000);
    const std::vector<Counts> counts = {
        {1000, 0, 0, 0}, {0, 1000, 0, 0}, {0, 0, 1000, 0}, {0, 0, 0, 1000}};
    CHECK(domain_information(counts) == Approx(std::log(4) - miller_madow).epsilon(1e-12));
  }
  SECTION("proportional rows carry nothing") {
    CHECK(domain_information({{10, 20, 30}, {100, 200, 300}}) ==
          Approx(-1.0 * 2 / (2 * 660)).epsilon(1e-10));
  }
  SECTION("the bias of random routing is taken off") {
    double sum = 0;
    for (uint64_t trial = 0; trial < 200; ++trial) {
      std::vector<Counts> counts(4, Counts(8, 0));
      for (uint64_t t = 0; t < 1000; ++t) ++counts[t % 4][hash({3, trial, t}) % 8];
      sum += domain_information(counts) / 200;
    }
    CHECK(sum == Approx(0).margin(1e-3));  // uncorrected: 0.0105
  }
  SECTION("domains that do not occur count for nothing") {
    CHECK(domain_information({{10, 0}, {0, 0}, {0, 10}}) ==
          Approx(domain_information({{10, 0}, {0, 10}})).epsilon(1e-14));
  }
}

TEST_CASE("normalised information is 1 where experts and domains tell each other apart",
          "[routing_metrics]") {
  // Two domains, two experts, I = ln 2 − 1/(2 · 8) of at most ln 2.
  CHECK(normalized_information({{4, 0}, {0, 4}}) == Approx(1 - 1 / (16 * std::log(2))));
  // Four experts for two domains: knowing the expert is knowing the domain, whose ln 2 is the most.
  CHECK(normalized_information({{4000, 4000, 0, 0}, {0, 0, 4000, 4000}}) ==
        Approx(1 - 3 / (32000 * std::log(2))));
  CHECK(normalized_information({{10, 20}, {100, 200}}) < 0.01);
  CHECK(std::isnan(normalized_information({{10, 20}})));
  CHECK(std::isnan(normalized_information({{10, 0}, {20, 0}})));
  CHECK(std::isnan(normalized_information({})));
}

TEST_CASE("the balance value is 1 at balance and E at collapse", "[routing_metrics]") {
  CHECK(balance_value({5, 5, 5, 5}, {2, 2, 2, 2}) == Approx(1));
  CHECK(balance_value({20, 0, 0, 0}, {8, 0, 0, 0}) == Approx(4));
  CHECK(balance_value({3, 1}, {6, 2}) == Approx(2 * (0.75 * 0.75 + 0.25 * 0.25)));
}

TEST_CASE("step metrics hold every name, one value per layer", "[routing_metrics]") {
  const auto metrics = step_metrics({small_layer(), small_layer()}, 1);
  const auto first = [&](const std::string& name) {
    REQUIRE(metrics.count(name) == 1);
    REQUIRE(metrics.at(name).size() == 2);
    return metrics.at(name)[0];
  };
  CHECK(first("max_vio") == Approx(4 / 3.0 - 1));
  CHECK(first("max_vio_micro") == Approx((1.0 + 1 / 3.0) / 2));
  CHECK(first("max_vio_floor") == Approx(std::sqrt(2.0 / 6 / std::numbers::pi)));
  CHECK(first("load_cv") == Approx(1 / 3.0));
  CHECK(first("load_max") == Approx(4 / 3.0));
  CHECK(first("load_min") == Approx(2 / 3.0));
  CHECK(first("router_entropy") == Approx(0.5));
  CHECK(first("router_entropy_marginal") == Approx(-0.6 * std::log(0.6) - 0.4 * std::log(0.4)));
  CHECK(first("drop_rate") == Approx(1 / 6.0));
  CHECK(first("tokens_without_expert") == 1);
  CHECK(first("router_logit_max") == 2.5);
  CHECK(first("z") == 2);
  CHECK(first("balance_value") == Approx(2 * (2 / 3.0 * 0.6 + 1 / 3.0 * 0.4)));
  CHECK(first("devices_per_token") == Approx(5 / 6.0));
  CHECK(first("domain_mi") == Approx(domain_information({{3, 0}, {1, 2}})));
  CHECK(first("domain_nmi") == Approx(normalized_information({{3, 0}, {1, 2}})));
  CHECK(first("load_entropy") == Approx(load_entropy({4, 2})));
  CHECK(first("repetition") == 0.25);
  CHECK(first("intervention") == 0.4);
  CHECK(first("selected") == 6);
  CHECK(first("kept") == 5);
  CHECK(first("computed") == 5);
  CHECK(metrics.count("max_vio_global") == 0);
  CHECK(load_of({small_layer()}) == std::vector<Counts>{{4, 2}});
  CHECK(received_of({small_layer()}) == std::vector<Counts>{{2, 3}});
}

TEST_CASE("intervention is a share of all K choices", "[routing_metrics]") {
  LayerSums sums = small_layer();
  CHECK(step_metrics({sums}, 2).at("intervention")[0] == 0.2);
  sums.moved = sums.biased_tokens = 0;
  CHECK(std::isnan(step_metrics({sums}, 2).at("intervention")[0]));
}

TEST_CASE("a router without probabilities has no entropies", "[routing_metrics]") {
  LayerSums sums = small_layer();
  sums.prob_sum_E = {0, 0};
  sums.logit_max = -std::numeric_limits<double>::infinity();
  const auto metrics = step_metrics({sums}, 1);
  for (const char* name :
       {"router_entropy", "router_entropy_marginal", "z", "balance_value", "router_logit_max"}) {
    INFO(name);
    CHECK(std::isnan(metrics.at(name)[0]));
  }
  CHECK(metrics.at("max_vio")[0] == Approx(1 / 3.0));
}

TEST_CASE("the range of biases is highest less lowest", "[routing_metrics]") {
  CHECK(bias_range({-0.5, 0.25, 0.125}) == 0.75);
}

TEST_CASE("the load window forgets steps older than its length", "[routing_metrics]") {
  LoadWindow window({2}, 3);
  window.add({{100, 0}});
  CHECK(window.dead_experts() == std::vector<double>{1});
  window.add({{50, 50}});
  CHECK(window.dead_experts() == std::vector<double>{0});
  for (int i = 0; i < 3; ++i) window.add({{100, 0}});
  CHECK(window.dead_experts() == std::vector<double>{1});

  SECTION("its tensors are its whole state") {
    LoadWindow other({2}, 3);
    other.ring().copy_(window.ring());
    other.added().copy_(window.added());
    for (auto* each : {&window, &other}) {
      each->add({{1, 200}});
      CHECK(each->dead_experts() == std::vector<double>{0});
    }
    CHECK(other.ring().equal(window.ring()));
    CHECK(other.added().item<int64_t>() == 6);
  }
}

TEST_CASE("layers of the load window may differ in experts", "[routing_metrics]") {
  LoadWindow window({2, 4}, 3);
  window.add({{100, 100}, {400, 0, 0, 1}});
  CHECK(window.dead_experts() == std::vector<double>{0, 3});
  window.add({{200, 0}, {0, 50, 0, 50}});
  CHECK(window.dead_experts() == std::vector<double>{0, 1});
  CHECK(LoadWindow({}, 3).dead_experts().empty());
}

TEST_CASE("the floor of max_vio follows each layer's number of experts", "[routing_metrics]") {
  LayerSums two = small_layer(), four = small_layer();
  four.counts_ME = {{1, 2, 2, 1}};
  four.domain_counts_DE = {{1, 2, 2, 1}};
  four.prob_sum_E = {1.5, 1.5, 1.5, 1.5};
  const auto floors = step_metrics({two, four, two}, 1).at("max_vio_floor");
  CHECK(floors[0] == Approx(max_vio_floor(2, 1, 6)));
  CHECK(floors[1] == Approx(max_vio_floor(4, 1, 6)));
  CHECK(floors[2] == floors[0]);
}

}  // namespace switchyard
