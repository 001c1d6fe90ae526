#include <ATen/ATen.h>

#include "core/kernels/rows.h"

namespace switchyard::reference {

RowPlan plan_rows(const at::Tensor& expert_ids_TK, const at::Tensor& kept_TK, int64_t num_experts) {
  const int64_t K = expert_ids_TK.size(1);
  const at::Tensor used = kept_TK.logical_and(expert_ids_TK.ge(0));
  const at::Tensor keys = at::where(used, expert_ids_TK, num_experts).reshape({-1});
  const at::Tensor order = std::get<1>(at::sort(keys, /*stable=*/true, 0, /*descending=*/false));
  at::Tensor counts = at::zeros({num_experts + 1}, keys.options());
  counts.scatter_add_(0, keys, at::ones_like(keys));
  const at::Tensor ends = counts.cumsum(0).cpu();

  RowPlan plan;
  plan.offsets_E.push_back(0);
  for (int64_t e = 0; e < num_experts; ++e)
    plan.offsets_E.push_back(ends.const_data_ptr<int64_t>()[e]);
  plan.row_assignment_R = order.narrow(0, 0, plan.offsets_E.back()).contiguous();
  plan.row_token_R = K > 0 ? plan.row_assignment_R.floor_divide(K) : plan.row_assignment_R;
  return plan;
}

}  // namespace switchyard::reference
