#pragma once

#include <string>

#include "core/nn/feed_forward.h"
#include "core/nn/init.h"

namespace switchyard {

/// What every token goes through beside its routed experts: one dense feed-forward as wide as all
/// shared experts together. Gated (Qwen2-MoE, Yang 2024) its output is multiplied by sigmoid(w ·
/// x), in at least fp32. Parameters: those of FeedForward and, gated, `gate` [1, D].
class SharedExpertsImpl : public FeedForwardImpl {
 public:
  SharedExpertsImpl(int64_t hidden_dim, int64_t width, bool gated);
  at::Tensor forward(const at::Tensor& x_TD);

  /// Fills the weights as functions of (seed, name, element).
  void initialize(uint64_t seed, const std::string& prefix, const WeightInit& init);

  at::Tensor gate_1D;  ///< undefined unless gated
};
TORCH_MODULE(SharedExperts);

}  // namespace switchyard
