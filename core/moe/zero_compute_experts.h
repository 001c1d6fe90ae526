#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <string>

#include "core/moe/records.h"
#include "core/nn/init.h"

namespace switchyard {

/// How many experts of each kind that needs no feed-forward a layer has.
struct ZeroComputeCounts {
  int64_t zero = 0, copy = 0, constant = 0;
  int64_t sum() const { return zero + copy + constant; }
};

/// Experts that cost next to nothing (MoE++, Jin 2024, equations 3 to 5), chosen by the router like
/// the others and numbered after them, in this order:
///   zero      0
///   copy      x
///   constant  α₁ x + α₂ v, (α₁, α₂) = softmax(W x)
/// Every rank holds them all, and the rank that owns a token computes them: they take part in no
/// exchange. Parameters, with C constant experts: `mix` [C, 2, D] is W, `value` [C, D] is v.
class ZeroComputeExpertsImpl : public torch::nn::Module {
 public:
  /// `first`: number of the first zero expert.
  ZeroComputeExpertsImpl(int64_t hidden_dim, int64_t first, const ZeroComputeCounts& counts);

  /// y_TD: for each token the sum of its kept choices among these experts, each times its combine
  /// weight. The softmax is in the parameters' type. Local.
  at::Tensor forward(const at::Tensor& x_TD, const RoutingDecision& decision) const;

  /// Fills the weights as functions of (seed, name, element).
  void initialize(uint64_t seed, const std::string& prefix, const WeightInit& init);

  at::Tensor mix_C2D, value_CD;  ///< undefined without constant experts

 private:
  int64_t first_;
  ZeroComputeCounts counts_;
};
TORCH_MODULE(ZeroComputeExperts);

/// What remains to be dispatched: the choices of experts below `first`; the others become −1, not
/// kept.
RoutingDecision only_below(const RoutingDecision& decision, int64_t first);

}  // namespace switchyard
