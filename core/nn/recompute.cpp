#include "core/nn/recompute.h"

#include <ATen/ATen.h>
#include <torch/autograd.h>

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The function in a form that autograd's context can hold.
struct Held : torch::CustomClassHolder {
  explicit Held(RecomputedFunction function) : fn(std::move(function)) {}
  RecomputedFunction fn;
};

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  // `anchor` needs a gradient, so that the outputs have a history even where no input does.
  static variable_list forward(AutogradContext* ctx, const at::Tensor& /*anchor*/,
                               at::TensorList inputs, const RecomputedFunction& fn) {
    ctx->save_for_backward(inputs.vec());
    ctx->saved_data["fn"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(fn));
    ctx->set_materialize_grads(false);
    return fn(inputs.vec());
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const at::AutoGradMode with_gradients(true);
    variable_list inputs = ctx->get_saved_variables();
    for (at::Tensor& input : inputs) {
      const bool needs_gradient = input.requires_grad();
      input = input.detach().requires_grad_(needs_gradient);
    }
    const auto capsule = ctx->saved_data["fn"].toCapsule();
    const variable_list outputs = static_cast<Held*>(capsule.get())->fn(inputs);

    variable_list roots, root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(gradients[i]);
    }
    if (!roots.empty()) torch::autograd::backward(roots, root_gradients);

    variable_list result(2 + inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) result[1 + i] = inputs[i].grad();
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> recompute(const RecomputedFunction& fn,
                                  const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return fn(inputs);
  const at::Tensor anchor = at::empty({0}).requires_grad_();
  return RecomputeFunction::apply(anchor, at::TensorList(inputs), fn);
}

}  // namespace switchyard
