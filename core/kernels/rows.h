#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace switchyard {

/// The kept assignments as rows, sorted by (expert, token).
struct RowPlan {
  at::Tensor row_token_R;       ///< int64, token of each row
  at::Tensor row_assignment_R;  ///< int64, place in the flattened [T, K]: token × K + choice
  std::vector<int64_t>
      offsets_E;  ///< E + 1 entries: rows [offsets[i], offsets[i+1]) go to expert i
};

/// Counting sort of the assignments with `kept_TK` (bool) and an id ≥ 0; O(T·K + E). Ids are below
/// num_experts. On a GPU the offsets cost one wait for the device.
RowPlan plan_rows(const at::Tensor& expert_ids_TK, const at::Tensor& kept_TK, int64_t num_experts);

namespace reference {
RowPlan plan_rows(const at::Tensor& expert_ids_TK, const at::Tensor& kept_TK, int64_t num_experts);
}

}  // namespace switchyard
