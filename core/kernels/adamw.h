#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// One update of AdamW (Loshchilov & Hutter 2019), as torch.optim.AdamW defines it.
struct AdamWStep {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.0;
  int64_t step = 1;         ///< number of this update, from 1
  double grad_scale = 1.0;  ///< the gradient is multiplied by it first (clipping)
};

/// Updates param, exp_avg and exp_avg_sq in place, in one pass. All four are contiguous, of one
/// type and size; grad is only read. Element by element, so any cut into ranges gives the same
/// bits.
void adamw_(const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
            const at::Tensor& exp_avg_sq, const AdamWStep& step);

/// Σ x² in fp64; on a CPU by blocks of fixed size, so that the number of threads does not matter.
double squared_sum(const at::Tensor& x);

namespace reference {
void adamw_(const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
            const at::Tensor& exp_avg_sq, const AdamWStep& step);
double squared_sum(const at::Tensor& x);
}  // namespace reference

}  // namespace switchyard
