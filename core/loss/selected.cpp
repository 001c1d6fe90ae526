#include "core/loss/selected.h"

#include "core/base/partition.h"

namespace switchyard {

at::Tensor selected_TE(const at::Tensor& expert_ids_TK, int64_t num_experts) {
  // Column 0 takes the −1 of tokens with fewer choices.
  at::Tensor chosen = at::zeros({expert_ids_TK.size(0), num_experts + 1},
                                expert_ids_TK.options().dtype(at::kDouble));
  chosen.scatter_(1, expert_ids_TK + 1, 1.0);
  return chosen.narrow(1, 1, num_experts);
}

at::Tensor groups_DE(int64_t num_groups, int64_t num_experts, const at::TensorOptions& like) {
  at::Tensor groups = at::zeros({num_groups, num_experts}, like.dtype(at::kDouble));
  for (int64_t group = 0; group < num_groups; ++group) {
    const Share block = block_of(group, num_groups, num_experts);
    groups.select(0, group).narrow(0, block.first, block.count).fill_(1.0);
  }
  return groups;
}

}  // namespace switchyard
