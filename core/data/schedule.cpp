#include "core/data/schedule.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr double kCycleSlots = 4096;
constexpr double kSmallestShare = 1e-5;

/// r/n with its binary digits reversed: the multiples of 1/n in an order that is even at every
/// length.
double spread(int64_t r, int64_t n) {
  double value = 0;
  double digit = 0.5;
  for (int64_t bit = 1; bit < n; bit *= 2, digit /= 2) {
    if ((r & bit) != 0) value += digit;
  }
  return value;
}

}  // namespace

Schedule::Schedule(const std::vector<double>& weights, int64_t slots_per_step)
    : slots_per_step_(slots_per_step), per_cycle_(weights.size(), 0) {
  SWITCHYARD_CHECK(!weights.empty() && slots_per_step > 0);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double smallest = *std::min_element(weights.begin(), weights.end()) / total;
  if (!(smallest >= kSmallestShare)) {
    throw DataError(
        fmt::format("a domain has a share of {:.2g} of the sequences, at least {} is needed",
                    smallest, kSmallestShare));
  }
  const double slots = std::max(kCycleSlots, 4 / smallest);
  cycle_steps_ = static_cast<int64_t>(
      std::bit_ceil(static_cast<uint64_t>(std::ceil(slots / static_cast<double>(slots_per_step)))));
  std::vector<double> cdf(weights.size());
  std::partial_sum(weights.begin(), weights.end(), cdf.begin());
  for (double& value : cdf) value /= total;
  cycle_.reserve(cycle_steps_ * slots_per_step);
  for (int64_t r = 0; r < cycle_steps_; ++r) fill_step(r, cdf);
}

void Schedule::fill_step(int64_t cycle_step, const std::vector<double>& cdf) {
  // Systematic sampling: equidistant points, shifted from step to step, each in one domain's
  // interval.
  const auto domains = static_cast<int64_t>(cdf.size());
  const double shift = spread(cycle_step, cycle_steps_) + 0.5 / static_cast<double>(cycle_steps_);
  std::vector<int64_t> counts(domains, 0);
  for (int64_t j = 0; j < slots_per_step_; ++j) {
    const double point = (static_cast<double>(j) + shift) / static_cast<double>(slots_per_step_);
    const auto above = std::upper_bound(cdf.begin(), cdf.end(), point) - cdf.begin();
    ++counts[std::min<int64_t>(above, domains - 1)];
  }
  struct Place {
    double when;
    int64_t domain;
  };
  std::vector<Place> places;
  for (int64_t d = 0; d < domains; ++d) {
    for (int64_t k = 0; k < counts[d]; ++k) {
      places.push_back({(static_cast<double>(k) + 0.5) / static_cast<double>(counts[d]), d});
    }
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.when < b.when; });
  for (const Place& place : places) cycle_.push_back({place.domain, per_cycle_[place.domain]++});
}

Schedule::Slot Schedule::at(int64_t step, int64_t slot) const {
  Slot found = cycle_[(step % cycle_steps_) * slots_per_step_ + slot];
  found.index += (step / cycle_steps_) * per_cycle_[found.domain];
  return found;
}

}  // namespace switchyard
