#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/kernels/rows.h"

namespace switchyard {

RowPlan plan_rows(const at::Tensor& expert_ids_TK, const at::Tensor& kept_TK, int64_t num_experts) {
  if (!expert_ids_TK.is_cpu()) return reference::plan_rows(expert_ids_TK, kept_TK, num_experts);
  const at::Tensor ids_TK = expert_ids_TK.contiguous();
  const at::Tensor used_TK = kept_TK.contiguous();
  const int64_t* ids = ids_TK.const_data_ptr<int64_t>();
  const bool* used = used_TK.const_data_ptr<bool>();
  const int64_t num_assignments = ids_TK.numel();
  const int64_t K = ids_TK.size(1);

  RowPlan plan;
  plan.offsets_E.assign(static_cast<size_t>(num_experts) + 1, 0);
  int64_t* offsets = plan.offsets_E.data();
  for (int64_t i = 0; i < num_assignments; ++i) {
    if (!used[i] || ids[i] < 0) continue;
    SWITCHYARD_CHECK(ids[i] < num_experts, "expert {} of {}", ids[i], num_experts);
    ++offsets[ids[i] + 1];
  }
  for (int64_t e = 0; e < num_experts; ++e) offsets[e + 1] += offsets[e];

  plan.row_assignment_R = at::empty({offsets[num_experts]}, ids_TK.options());
  plan.row_token_R = at::empty_like(plan.row_assignment_R);
  int64_t* assignments = plan.row_assignment_R.mutable_data_ptr<int64_t>();
  int64_t* tokens = plan.row_token_R.mutable_data_ptr<int64_t>();
  std::vector<int64_t> next(plan.offsets_E.begin(), plan.offsets_E.end() - 1);
  for (int64_t i = 0; i < num_assignments; ++i) {
    if (!used[i] || ids[i] < 0) continue;
    const int64_t row = next[static_cast<size_t>(ids[i])]++;
    assignments[row] = i;
    tokens[row] = i / K;
  }
  return plan;
}

}  // namespace switchyard
