#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/moe/balance_term.h"

namespace switchyard {

/// The balance terms of one micro-batch.
struct BalanceValue {
  /// Scalar whose gradient is this rank's share of the gradient of `value`; not its value.
  /// Undefined when there is nothing to balance.
  at::Tensor surrogate;
  double value = 0;  ///< Σ coef × mean over MoE layers of the term, the same on every rank
  /// [layer][term], without coefficients.
  std::vector<std::vector<double>> terms;
};

/// Adds up the balance terms over the micro-batches of a step. Numbers travel once per micro-batch:
/// the per-sequence sums of all layers and terms, gathered in global order.
class BalanceLoss {
 public:
  explicit BalanceLoss(BalanceTerms terms);

  /// Forgets the counts of the last step and sets the coefficients of this one.
  void begin_step(const StepCoefficients& now);
  /// Whether some term wants count() called for every micro-batch before the first evaluate().
  bool needs_counting_pass() const;
  /// Collective. `layers[i]` holds layer i's MoEOutput::terms; layers may differ in size.
  void count(const std::vector<std::vector<at::Tensor>>& layers, Communicator& comm);
  /// Collective.
  BalanceValue evaluate(const std::vector<std::vector<at::Tensor>>& layers, int64_t sequence_length,
                        Communicator& comm);
  /// The terms of the routers' weights, once per step. Local; every rank calls it with the same
  /// weights, `routers[i]` that of layer i, and gets the same value. Rank 0 alone gets the
  /// surrogate, so that the sum over ranks counts the gradient once.
  BalanceValue evaluate_weights(const std::vector<at::Tensor>& routers, int rank) const;

 private:
  struct Gathered {
    at::Tensor all_NW;  // every sequence of the micro-batch, fp64
    int64_t first = 0;  // row of this rank's first sequence
  };
  Gathered gather(const at::Tensor& mine_SW, Communicator& comm) const;
  at::Tensor step_counts(size_t layer, size_t term, const at::Tensor& sums_NW);
  double share_of(const BalanceTerm& term, size_t num_layers) const;

  BalanceTerms terms_;
  StepCoefficients now_;
  std::vector<std::vector<at::Tensor>> seen_;   // running counts [layer][term]
  std::vector<std::vector<at::Tensor>> exact_;  // counts of the whole step [layer][term]
};

}  // namespace switchyard
