#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include "core/base/error.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/cpu/swiglu_rows.h"
#include "core/kernels/swiglu.h"

namespace switchyard {
namespace {

constexpr int64_t kRowsPerTask = 32;

class SwigluFunction : public torch::autograd::Function<SwigluFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input) {
    const at::Tensor gate_up = input.contiguous();
    ctx->save_for_backward({gate_up});
    std::vector<int64_t> shape = gate_up.sizes().vec();
    const int64_t F = shape.back() /= 2;
    at::Tensor act = at::empty(shape, gate_up.options());
    const int64_t rows = F > 0 ? act.numel() / F : 0;
    AT_DISPATCH_FLOATING_TYPES(act.scalar_type(), "swiglu", [&] {
      const scalar_t* in = gate_up.const_data_ptr<scalar_t>();
      scalar_t* out = act.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
        swiglu_rows(in + begin * 2 * F, nullptr, end - begin, F, out + begin * F);
      });
    });
    return act;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor gate_up = ctx->get_saved_variables()[0];
    const at::Tensor dact = gradients[0].contiguous();
    at::Tensor dgate_up = at::empty_like(gate_up);
    const int64_t F = dact.size(-1);
    const int64_t rows = F > 0 ? dact.numel() / F : 0;
    AT_DISPATCH_FLOATING_TYPES(dact.scalar_type(), "swiglu_backward", [&] {
      const scalar_t* in = gate_up.const_data_ptr<scalar_t>();
      const scalar_t* d = dact.const_data_ptr<scalar_t>();
      scalar_t* out = dgate_up.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, rows, kRowsPerTask, [&](int64_t begin, int64_t end) {
        const scalar_t* no_scale = nullptr;
        swiglu_rows_backward(in + begin * 2 * F, no_scale, d + begin * F, end - begin, F,
                             SwigluGradients<scalar_t>{out + begin * 2 * F, nullptr, nullptr});
      });
    });
    return {dgate_up};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up) {
  SWITCHYARD_CHECK(gate_up.dim() >= 1 && gate_up.size(-1) % 2 == 0, "width {}", gate_up.size(-1));
  return has_fast_path(gate_up) ? SwigluFunction::apply(gate_up) : reference::swiglu(gate_up);
}

}  // namespace switchyard
