#include "core/nn/feed_forward.h"

#include "core/kernels/linear_map.h"
#include "core/kernels/swiglu.h"

namespace switchyard {

FeedForwardImpl::FeedForwardImpl(int64_t hidden_dim, int64_t ffn_dim) {
  gate_up = register_parameter("gate_up", torch::zeros({2 * ffn_dim, hidden_dim}));
  down = register_parameter("down", torch::zeros({hidden_dim, ffn_dim}));
}

at::Tensor FeedForwardImpl::forward(const at::Tensor& x) {
  return linear_map(swiglu(linear_map(x, gate_up)), down);
}

}  // namespace switchyard
