#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/moe/balance_term.h"

namespace switchyard {

/// The relu router's own term (ReMoE, arXiv 2412.14711, section 3.2): (1/T) Σ_t Σ_e a_e s_te with
/// a_e = (E/K) · share of tokens that activate e, without gradient through a. A magnitude.
std::shared_ptr<const BalanceTerm> make_relu_l1_term(int64_t top_k);

/// λ, the coefficient of that term: one for the run, over all layers. It moves so that the share of
/// active pairs (token, expert) goes to K/E.
class ReluL1 {
 public:
  /// Starts at λ = `first`; every update multiplies or divides by `rate`.
  ReluL1(double first, double rate, int64_t top_k);

  double coefficient() const;
  /// After an applied optimizer step: λ ← λ · rate^sign((1 − K/E) − sparsity). `counts_E` of each
  /// layer: activations over all ranks and the whole step, int64; `tokens` of the step.
  void update(const std::vector<at::Tensor>& counts_E, int64_t tokens);
  /// fp64 [1], λ: live, for checkpoints.
  const at::Tensor& state() const { return lambda_; }

 private:
  double rate_;
  int64_t top_k_;
  at::Tensor lambda_;
};

}  // namespace switchyard
