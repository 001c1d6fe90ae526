#pragma once

#include <cstdint>
#include <vector>

namespace switchyard {

/// Which domain each slot of each step gets, by weight and without chance: in every step a domain
/// has its share of the slots rounded down or up, spread evenly over the step, and over a cycle of
/// steps its exact share to about one part in 4096. How many slots a domain had before is known in
/// closed form, so any (step, slot) can be looked up alone.
class Schedule {
 public:
  struct Slot {
    int64_t domain;
    int64_t index;  ///< how many slots this domain had before, since step 0
  };

  /// Throws DataError for a weight so small that its domain would hardly ever be drawn.
  Schedule(const std::vector<double>& weights, int64_t slots_per_step);
  Slot at(int64_t step, int64_t slot) const;

 private:
  void fill_step(int64_t cycle_step, const std::vector<double>& cdf);

  int64_t slots_per_step_;
  int64_t cycle_steps_;             ///< a power of two
  std::vector<Slot> cycle_;         ///< [cycle_steps, slots_per_step], index within the cycle
  std::vector<int64_t> per_cycle_;  ///< slots of each domain in a whole cycle
};

}  // namespace switchyard
