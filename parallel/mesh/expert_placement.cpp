#include "parallel/mesh/expert_placement.h"

#include <algorithm>

#include "core/base/error.h"

namespace switchyard {
namespace {

std::vector<std::vector<int64_t>> consecutive(int64_t num_experts, int num_ranks) {
  SWITCHYARD_CHECK(num_experts >= 0 && num_ranks >= 1, "{} experts on {} ranks", num_experts,
                   num_ranks);
  std::vector<std::vector<int64_t>> experts_of(static_cast<size_t>(num_ranks));
  int64_t next = 0;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const int64_t here = num_experts / num_ranks + (rank < num_experts % num_ranks ? 1 : 0);
    for (int64_t i = 0; i < here; ++i) experts_of[static_cast<size_t>(rank)].push_back(next++);
  }
  return experts_of;
}

}  // namespace

ExpertPlacement::ExpertPlacement(std::vector<std::vector<int64_t>> experts_of)
    : experts_of_(std::move(experts_of)) {
  size_t num_experts = 0;
  for (const auto& experts : experts_of_) num_experts += experts.size();
  rank_of_.assign(num_experts, -1);
  slot_of_.assign(num_experts, -1);
  for (size_t rank = 0; rank < experts_of_.size(); ++rank) {
    for (size_t slot = 0; slot < experts_of_[rank].size(); ++slot) {
      const int64_t expert = experts_of_[rank][slot];
      SWITCHYARD_CHECK(expert >= 0 && expert < this->num_experts(),
                       "expert {} on rank {}, there are {} experts", expert, rank, num_experts);
      const auto e = static_cast<size_t>(expert);
      SWITCHYARD_CHECK(rank_of_[e] < 0, "expert {} on ranks {} and {}", expert, rank_of_[e], rank);
      rank_of_[e] = static_cast<int>(rank);
      slot_of_[e] = static_cast<int64_t>(slot);
    }
  }
}

ExpertPlacement::ExpertPlacement(int64_t num_experts, int num_ranks)
    : ExpertPlacement(consecutive(num_experts, num_ranks)) {}

int64_t ExpertPlacement::most_slots() const {
  size_t most = 0;
  for (const auto& experts : experts_of_) most = std::max(most, experts.size());
  return static_cast<int64_t>(most);
}

}  // namespace switchyard
