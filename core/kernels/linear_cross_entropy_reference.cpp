#include <ATen/ATen.h>

#include "core/kernels/linear_cross_entropy.h"

namespace switchyard::reference {

CrossEntropy linear_cross_entropy(const at::Tensor& x_TD, const at::Tensor& weight_VD,
                                  const at::Tensor& targets_T) {
  const auto wide = x_TD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor logits_TV = at::mm(x_TD, weight_VD.to(x_TD.scalar_type()).t()).to(wide);
  const at::Tensor at_target_T1 =
      at::log_softmax(logits_TV, -1).gather(1, targets_T.clamp_min(0).unsqueeze(1));
  const at::Tensor nll_T = -at_target_T1.squeeze(1) * targets_T.ge(0).to(wide);
  return {nll_T.sum(at::kDouble), nll_T.detach()};
}

}  // namespace switchyard::reference
