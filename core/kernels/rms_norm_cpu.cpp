#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <cmath>

#include "core/base/error.h"
#include "core/kernels/cpu/clones.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/rms_norm.h"

namespace switchyard {
namespace {

constexpr int64_t kRowsPerBlock = 32;

template <class T>
struct Norm {
  const T* x;
  const T* weight;
  T* inverse_R;  ///< 1 / sqrt(mean(x²) + eps) of each row
  int64_t D;
  double eps;
};

template <class T>
SWITCHYARD_INLINE void forward(const Norm<T>& norm, int64_t begin, int64_t end, T* y) {
  const int64_t D = norm.D;
  for (int64_t r = begin; r < end; ++r) {
    const T* __restrict x = norm.x + r * D;
    const T* __restrict weight = norm.weight;
    T* __restrict out = y + r * D;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < D; ++d) sum += x[d] * x[d];
    const T inverse = T(1) / std::sqrt(sum / T(D) + T(norm.eps));
    norm.inverse_R[r] = inverse;
#pragma omp simd
    for (int64_t d = 0; d < D; ++d) out[d] = x[d] * inverse * weight[d];
  }
}

// dx = i·(w·dy) − x·i³/D·Σ(w·dy·x); dweight gains Σ_rows dy·x·i.
template <class T>
SWITCHYARD_INLINE void backward(const Norm<T>& norm, const T* dy, int64_t begin, int64_t end, T* dx,
                                T* __restrict dweight) {
  const int64_t D = norm.D;
  for (int64_t r = begin; r < end; ++r) {
    const T* __restrict x = norm.x + r * D;
    const T* __restrict weight = norm.weight;
    const T* __restrict d_out = dy + r * D;
    T* __restrict d_in = dx + r * D;
    const T inverse = norm.inverse_R[r];
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < D; ++d) sum += d_out[d] * weight[d] * x[d];
    const T factor = sum * inverse * inverse * inverse / T(D);
#pragma omp simd
    for (int64_t d = 0; d < D; ++d) {
      dweight[d] += d_out[d] * x[d] * inverse;
      d_in[d] = d_out[d] * weight[d] * inverse - x[d] * factor;
    }
  }
}

SWITCHYARD_CLONES void run_forward(const Norm<float>& norm, int64_t begin, int64_t end, float* y) {
  forward(norm, begin, end, y);
}
SWITCHYARD_CLONES void run_forward(const Norm<double>& norm, int64_t begin, int64_t end,
                                   double* y) {
  forward(norm, begin, end, y);
}
SWITCHYARD_CLONES void run_backward(const Norm<float>& norm, const float* dy, int64_t begin,
                                    int64_t end, float* dx, float* dweight) {
  backward(norm, dy, begin, end, dx, dweight);
}
SWITCHYARD_CLONES void run_backward(const Norm<double>& norm, const double* dy, int64_t begin,
                                    int64_t end, double* dx, double* dweight) {
  backward(norm, dy, begin, end, dx, dweight);
}

template <class T>
Norm<T> make_norm(const at::Tensor& x, const at::Tensor& weight_D, at::Tensor& inverse_R,
                  double eps) {
  return {x.const_data_ptr<T>(), weight_D.const_data_ptr<T>(), inverse_R.data_ptr<T>(), x.size(-1),
          eps};
}

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& weight_D, double eps) {
    const at::Tensor x = input.contiguous();
    const int64_t rows = x.numel() / x.size(-1);
    at::Tensor y = at::empty_like(x);
    at::Tensor inverse_R = at::empty({rows}, x.options());
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm", [&] {
      const Norm<scalar_t> norm = make_norm<scalar_t>(x, weight_D, inverse_R, eps);
      scalar_t* out = y.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, rows, kRowsPerBlock,
                       [&](int64_t begin, int64_t end) { run_forward(norm, begin, end, out); });
    });
    ctx->save_for_backward({x, weight_D, inverse_R});
    ctx->saved_data["eps"] = eps;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    at::Tensor inverse_R = saved[2];
    const at::Tensor dy = gradients[0].contiguous();
    const int64_t D = x.size(-1), rows = inverse_R.numel();
    const int64_t blocks = (rows + kRowsPerBlock - 1) / kRowsPerBlock;
    at::Tensor dx = at::empty_like(x);
    at::Tensor partial_ND = at::zeros({blocks, D}, x.options());
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm_backward", [&] {
      const Norm<scalar_t> norm =
          make_norm<scalar_t>(x, saved[1], inverse_R, ctx->saved_data["eps"].toDouble());
      const scalar_t* d_out = dy.const_data_ptr<scalar_t>();
      scalar_t* d_in = dx.mutable_data_ptr<scalar_t>();
      scalar_t* partial = partial_ND.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
        for (int64_t b = first; b < last; ++b)
          run_backward(norm, d_out, b * kRowsPerBlock, std::min(rows, (b + 1) * kRowsPerBlock),
                       d_in, partial + b * D);
      });
    });
    return {dx, partial_ND.sum(0), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D, double eps) {
  SWITCHYARD_CHECK(weight_D.dim() == 1 && x.size(-1) == weight_D.size(0) && x.size(-1) > 0,
                   "width {} with {} weights", x.size(-1), weight_D.numel());
  if (!has_fast_path(x)) return reference::rms_norm(x, weight_D, eps);
  return RmsNormFunction::apply(x, weight_D.to(x.scalar_type()).contiguous(), eps);
}

}  // namespace switchyard
