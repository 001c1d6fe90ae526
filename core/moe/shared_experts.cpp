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

void SharedExpertsImpl::initialize(uint64_t seed, const std::string& prefix,
                                   const WeightInit& init) {
  torch::NoGradGuard no_grad;
  init_weight(gate_up, seed, prefix + ".gate_up", init);
  init_weight(down, seed, prefix + ".down", init);
  if (gate_1D.defined()) init_weight(gate_1D, seed, prefix + ".gate", init);
}

}  // namespace switchyard
