#include "core/loss/choices.h"

namespace switchyard {

at::Tensor spread_over_experts(const at::Tensor& values_TK, const at::Tensor& expert_ids_TK,
                               int64_t num_experts) {
  const at::Tensor values = values_TK.to(at::kDouble);
  // Column 0 takes the −1 of tokens with fewer choices.
  const at::Tensor columns =
      at::zeros({expert_ids_TK.size(0), num_experts + 1}, values.options().requires_grad(false));
  return columns.scatter(1, expert_ids_TK + 1, values).narrow(1, 1, num_experts);
}

at::Tensor chosen_TE(const at::Tensor& expert_ids_TK, int64_t num_experts) {
  return spread_over_experts(at::ones(expert_ids_TK.sizes(), expert_ids_TK.options()),
                             expert_ids_TK, num_experts);
}

}  // namespace switchyard
