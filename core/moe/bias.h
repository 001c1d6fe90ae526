#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/base/communicator.h"
#include "core/moe/options.h"

namespace switchyard {

/// What a bias rule remembers: [E] each, in the dtype of the router; undefined where the options do
/// not need it.
struct BiasState {
  at::Tensor bias_E;      ///< added to the scores, or multiplied with them, for selection
  at::Tensor average_E;   ///< ema: the moving average of counts
  at::Tensor integral_E;  ///< pid: sum of errors
  at::Tensor error_E;     ///< pid: the last step's errors
};

/// The state before the first step, in fp32: zeros, and a bias of ones for `multiplicative`.
BiasState make_bias_state(const BiasOptions& options, int64_t num_experts);

/// An optimizer step, once it has been applied.
struct BiasStep {
  at::Tensor counts_E;  ///< int64, assignments of the whole step over all ranks, before drops
  int64_t step = 0;     ///< optimizer steps done before it
  int64_t top_k = 1;
  /// quantile: quantile_margins() of every micro-batch, this rank's tokens. At least one.
  std::vector<at::Tensor> margins;
  Communicator* communicator = nullptr;  ///< quantile: the ranks that share the step's tokens
};

/// Moves the selection bias, in place. With mean = Σc/E and u = rate at the step:
///   sign            b += u · sign(Σc − E·c_e), in integers      Wang 2024 (loss-free balancing)
///   proportional    b += u · (mean − c_e)/mean                  Wang 2024, table 3
///   multiplicative  the sign rule on a factor b, from 1         Wang 2024, table 4
///   pid             e = (mean − c)/mean; b += kp·e + ki·Σe + kd·(e − e_last); Σe has this step's,
///                   e_last starts at 0
///   quantile        b_e = −[(⌊TK/E⌋ + 1)-th largest margin of e over all T tokens of the step],
///                   minus mean b                                Su 2026 (quantile balancing)
/// `ema` β replaces c by βc + (1−β)c_new first, from c = 0. Collective for quantile; all other
/// rules compute the same on every rank. Counts of zero in all and frozen steps change nothing.
void update_bias(const BiasOptions& options, const BiasStep& step, BiasState& state);

/// [T, E]: s_te − θ_t, where θ_t is the (K + 1)-th largest of s_t + b (bias_E undefined = 0). A
/// token takes expert e iff the margin exceeds −b_e. No gradient; K < E.
at::Tensor quantile_margins(const at::Tensor& scores_TE, const at::Tensor& bias_E, int64_t top_k);

}  // namespace switchyard
