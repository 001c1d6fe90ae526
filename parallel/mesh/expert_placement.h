#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard {

/// Where each expert lives: a table expert → (rank of the expert group, slot on that rank). Every
/// expert lives on exactly one rank of the group; ranks may hold different numbers of experts, or
/// none.
class ExpertPlacement {
 public:
  /// experts_of[rank] lists its experts in slot order. Throws InternalError unless every expert
  /// from 0 to the last appears once.
  explicit ExpertPlacement(std::vector<std::vector<int64_t>> experts_of);

  /// Consecutive experts in rank order. Where they do not divide, the first ranks hold one more.
  ExpertPlacement(int64_t num_experts, int num_ranks);

  int num_ranks() const { return static_cast<int>(experts_of_.size()); }
  int64_t num_experts() const { return static_cast<int64_t>(rank_of_.size()); }
  int rank_of(int64_t expert) const { return rank_of_[static_cast<size_t>(expert)]; }
  int64_t slot_of(int64_t expert) const { return slot_of_[static_cast<size_t>(expert)]; }
  /// Experts of a rank, in slot order.
  const std::vector<int64_t>& experts_of(int rank) const {
    return experts_of_[static_cast<size_t>(rank)];
  }
  /// The largest number of experts on one rank.
  int64_t most_slots() const;

 private:
  std::vector<std::vector<int64_t>> experts_of_;
  std::vector<int> rank_of_;
  std::vector<int64_t> slot_of_;
};

}  // namespace switchyard
