#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/kernels/adamw.h"
#include "core/kernels/cpu/clones.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/cpu/fast_root.h"

namespace switchyard {
namespace {

constexpr int64_t kBlock = 16384;

template <class T>
struct Update {
  T *param, *exp_avg, *exp_avg_sq;
  const T* grad;
  T keep, mix1, beta2, mix2, root2, eps, rate, grad_scale;
};

template <class T>
Update<T> make_update(const AdamWStep& step) {
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  Update<T> update{};
  update.keep = static_cast<T>(1 - step.lr * step.weight_decay);
  update.mix1 = static_cast<T>(1 - step.beta1);
  update.beta2 = static_cast<T>(step.beta2);
  update.mix2 = static_cast<T>(1 - step.beta2);
  update.root2 = static_cast<T>(std::sqrt(correction2));
  update.eps = static_cast<T>(step.eps);
  update.rate = static_cast<T>(step.lr / correction1);
  update.grad_scale = static_cast<T>(step.grad_scale);
  return update;
}

template <class T>
SWITCHYARD_INLINE void update_range(const Update<T>& u, int64_t begin, int64_t end) {
  T* __restrict param = u.param;
  T* __restrict exp_avg = u.exp_avg;
  T* __restrict exp_avg_sq = u.exp_avg_sq;
  const T* __restrict grad = u.grad;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const T g = grad[i] * u.grad_scale;
    const T m = exp_avg[i] + u.mix1 * (g - exp_avg[i]);
    const T v = u.beta2 * exp_avg_sq[i] + u.mix2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    param[i] = param[i] * u.keep - u.rate * (m / (fast_root(v) / u.root2 + u.eps));
  }
}

SWITCHYARD_CLONES void run(const Update<float>& update, int64_t begin, int64_t end) {
  update_range(update, begin, end);
}
SWITCHYARD_CLONES void run(const Update<double>& update, int64_t begin, int64_t end) {
  update_range(update, begin, end);
}

template <class T>
SWITCHYARD_INLINE double sum_range(const T* __restrict x, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

SWITCHYARD_CLONES double sum_block(const float* x, int64_t count) {
  return sum_range(x, count);
}
SWITCHYARD_CLONES double sum_block(const double* x, int64_t count) {
  return sum_range(x, count);
}

}  // namespace

void adamw_(const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg,
            const at::Tensor& exp_avg_sq, const AdamWStep& step) {
  for (const at::Tensor* other : {&grad, &exp_avg, &exp_avg_sq})
    SWITCHYARD_CHECK(other->numel() == param.numel() && other->is_contiguous() &&
                         other->scalar_type() == param.scalar_type() && param.is_contiguous(),
                     "{} parameters, {} values", param.numel(), other->numel());
  if (!has_fast_path(param)) return reference::adamw_(param, grad, exp_avg, exp_avg_sq, step);
  AT_DISPATCH_FLOATING_TYPES(param.scalar_type(), "adamw", [&] {
    Update<scalar_t> update = make_update<scalar_t>(step);
    update.param = param.mutable_data_ptr<scalar_t>();
    update.grad = grad.const_data_ptr<scalar_t>();
    update.exp_avg = exp_avg.mutable_data_ptr<scalar_t>();
    update.exp_avg_sq = exp_avg_sq.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, param.numel(), kBlock,
                     [&](int64_t begin, int64_t end) { run(update, begin, end); });
  });
}

double squared_sum(const at::Tensor& x) {
  if (!has_fast_path(x)) return reference::squared_sum(x);
  const at::Tensor flat = x.detach().contiguous();
  const int64_t blocks = (flat.numel() + kBlock - 1) / kBlock;
  std::vector<double> partial(static_cast<size_t>(blocks));
  AT_DISPATCH_FLOATING_TYPES(flat.scalar_type(), "squared_sum", [&] {
    const scalar_t* data = flat.const_data_ptr<scalar_t>();
    at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b)
        partial[static_cast<size_t>(b)] =
            sum_block(data + b * kBlock, std::min(kBlock, flat.numel() - b * kBlock));
    });
  });
  double sum = 0;
  for (const double p : partial) sum += p;
  return sum;
}

}  // namespace switchyard
