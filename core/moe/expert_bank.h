#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/moe/records.h"
#include "core/nn/init.h"

namespace switchyard {

/// The SwiGLU experts held by this rank, stacked: gate_up_eGD [e, 2F, D] with gate rows first, and
/// down_eDF [e, D, F]. One differentiable operation serves them all.
class ExpertBankImpl : public torch::nn::Module {
 public:
  /// `experts`: global numbers, in slot order.
  ExpertBankImpl(int64_t hidden_dim, int64_t expert_dim, std::vector<int64_t> experts);

  /// y_UD: for each token the weighted sum over its experts here. Local.
  at::Tensor forward(const Dispatched& dispatched);

  /// What forward(dispatched) amounts to, for the metrics: counts, and with `measure_outputs` the
  /// squares of each expert's outputs, which costs another pass. No gradient. Local.
  ExpertWork work(const Dispatched& dispatched, int64_t num_experts, bool measure_outputs) const;
  /// fp64 [num_experts]: norm of all weights of each expert here, −inf for the others.
  at::Tensor weight_norms_E(int64_t num_experts) const;

  /// Fills the weights as functions of (seed, name, element), where the name carries the global
  /// expert number: the same values wherever an expert lives.
  void initialize(uint64_t seed, const std::string& prefix, const WeightInit& init);

  const std::vector<int64_t>& experts() const { return experts_; }

  at::Tensor gate_up_eGD, down_eDF;

 private:
  std::vector<int64_t> experts_;
};
TORCH_MODULE(ExpertBank);

}  // namespace switchyard
