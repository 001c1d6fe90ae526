#include <ATen/ATen.h>

#include <cmath>

#include "core/kernels/adamw.h"

namespace switchyard::reference {

void adamw_(const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
            const at::Tensor& exp_avg_sq, const AdamWStep& step) {
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const at::Tensor g = grad * step.grad_scale;
  at::Tensor p = param.detach();
  p.mul_(1 - step.lr * step.weight_decay);
  exp_avg.lerp_(g, 1 - step.beta1);
  exp_avg_sq.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  const at::Tensor denominator = (exp_avg_sq.sqrt() / std::sqrt(correction2)).add_(step.eps);
  p.addcdiv_(exp_avg, denominator, -step.lr / correction1);
}

double squared_sum(const at::Tensor& x) {
  return x.detach().to(at::kDouble).square().sum().item<double>();
}

}  // namespace switchyard::reference
