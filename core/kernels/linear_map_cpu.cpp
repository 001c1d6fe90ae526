#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/autograd.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/cpu/matrix_tasks.h"
#include "core/kernels/linear_map.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class T>
Matrix<T> flat(const at::Tensor& tensor) {
  const int64_t width = tensor.size(-1);
  return dense(tensor.data_ptr<T>(), width > 0 ? tensor.numel() / width : 0, width);
}

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& weight) {
    const at::Tensor x = input.contiguous(), w = weight.detach().contiguous();
    ctx->save_for_backward({x, weight});
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = w.size(0);
    at::Tensor y = at::empty(shape, x.options());
    const at::Tensor turned = at::empty({w.size(1), w.size(0)}, w.options());
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "linear", [&] {
      transpose_in_parallel<scalar_t>(flat<scalar_t>(w), flat<scalar_t>(turned));
      multiply_in_parallel<scalar_t>(flat<scalar_t>(x), flat<scalar_t>(turned), flat<scalar_t>(y));
    });
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor w = saved[1].detach().contiguous(), dy = gradients[0].contiguous();
    at::Tensor dx, dw;
    if (ctx->needs_input_grad(0)) dx = at::empty_like(x);
    if (ctx->needs_input_grad(1)) dw = at::zeros_like(w);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "linear_backward", [&] {
      if (dx.defined())
        multiply_in_parallel<scalar_t>(flat<scalar_t>(dy), flat<scalar_t>(w), flat<scalar_t>(dx));
      if (dw.defined())
        add_transposed_in_parallel<scalar_t>(flat<scalar_t>(dy), flat<scalar_t>(x),
                                             flat<scalar_t>(dw));
    });
    return {dx, dw};
  }
};

}  // namespace

at::Tensor linear_map(const at::Tensor& x, const at::Tensor& weight_NK) {
  SWITCHYARD_CHECK(weight_NK.dim() == 2 && x.size(-1) == weight_NK.size(1), "width {} on {}",
                   x.size(-1), weight_NK.size(-1));
  if (!has_fast_path(x) || x.numel() == 0 || weight_NK.numel() == 0)
    return reference::linear_map(x, weight_NK);
  return LinearFunction::apply(x, weight_NK.to(x.scalar_type()));
}

}  // namespace switchyard
