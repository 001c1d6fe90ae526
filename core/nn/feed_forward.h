#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

namespace switchyard {

/// Dense SwiGLU feed-forward (Shazeer 2020): x [..., D] → down · swiglu(gate_up · x), no biases.
/// Computed in x's type. Parameters `gate_up` [2F, D], gate rows first, and `down` [D, F]; zero
/// until the owner fills them.
class FeedForwardImpl : public torch::nn::Module {
 public:
  FeedForwardImpl(int64_t hidden_dim, int64_t ffn_dim);
  at::Tensor forward(const at::Tensor& x);

  at::Tensor gate_up, down;
};
TORCH_MODULE(FeedForward);

}  // namespace switchyard
