#include "core/moe/shared_experts.h"

#include "core/nn/init.h"

namespace switchyard {

SharedExpertsImpl::SharedExpertsImpl(int64_t hidden_dim, int64_t width, bool gated)
    : FeedForwardImpl(hidden_dim, width) {
  if (gated) gate_1D = register_parameter("gate", torch::zeros({1, hidden_dim}));
}

at::Tensor SharedExpertsImpl::forward(const at::Tensor& x_TD) {
  const at::Tensor y_TD = FeedForwardImpl::forward(x_TD);
  if (!gate_1D.defined()) return y_TD;
  const at::Tensor open_T1 = at::sigmoid(at::mm(x_TD.to(gate_1D.dtype()), gate_1D.t()));
  return y_TD * open_T1.to(y_TD.dtype());
}

void SharedExpertsImpl::initialize(uint64_t seed, const std::string& prefix, double std) {
  torch::NoGradGuard no_grad;
  init_normal(gate_up, seed, prefix + ".gate_up", std);
  init_normal(down, seed, prefix + ".down", std);
  if (gate_1D.defined()) init_normal(gate_1D, seed, prefix + ".gate", std);
}

}  // namespace switchyard
