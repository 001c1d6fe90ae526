#include "core/data/schedule.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "core/base/error.h"

namespace switchyard {
namespace {

std::vector<int64_t> counts_in(const Schedule& schedule, int64_t step, int64_t first, int64_t count,
                               size_t domains) {
  std::vector<int64_t> counts(domains, 0);
  for (int64_t s = first; s < first + count; ++s) ++counts[schedule.at(step, s).domain];
  return counts;
}

}  // namespace

TEST_CASE("every step holds each domain's share to within one slot", "[schedule]") {
  const auto weights = GENERATE(std::vector<double>{1, 1, 1, 1, 1, 1, 1, 1},
                                std::vector<double>{1, 1, 1}, std::vector<double>{5, 3, 2},
                                std::vector<double>{0.97, 0.02, 0.01}, std::vector<double>{7});
  const int64_t slots = GENERATE(1, 8, 32, 33);
  const Schedule schedule(weights, slots);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> sum(weights.size(), 0);
  constexpr int64_t kSteps = 5000;
  bool within_one = true;
  for (int64_t step = 0; step < kSteps; ++step) {
    const auto counts = counts_in(schedule, step, 0, slots, weights.size());
    for (size_t d = 0; d < weights.size(); ++d) {
      within_one = within_one && std::abs(counts[d] - slots * weights[d] / total) < 1;
      sum[d] += counts[d];
    }
  }
  CHECK(within_one);
  for (size_t d = 0; d < weights.size(); ++d) {
    CHECK(sum[d] / double(kSteps * slots) == Approx(weights[d] / total).margin(6e-4));
  }
}

TEST_CASE("the index counts what a domain had before", "[schedule]") {
  const Schedule schedule({5, 3, 2}, 7);
  std::vector<int64_t> had(3, 0);
  bool counted = true;
  for (int64_t step = 0; step < 3000; ++step) {  // more than two cycles
    for (int64_t s = 0; s < 7; ++s) {
      const auto slot = schedule.at(step, s);
      counted = counted && slot.index == had[slot.domain];
      ++had[slot.domain];
    }
  }
  CHECK(counted);
}

TEST_CASE("equal domains alternate, so that every part of a step holds all", "[schedule]") {
  const Schedule schedule({1, 1, 1, 1}, 16);
  for (int64_t first = 0; first < 16; first += 4) {
    CHECK(counts_in(schedule, 3, first, 4, 4) == std::vector<int64_t>{1, 1, 1, 1});
  }
}

TEST_CASE("a weight that would hardly ever be drawn is refused", "[schedule]") {
  CHECK_THROWS_AS(Schedule({1, 1e-6}, 32), DataError);
}

}  // namespace switchyard
