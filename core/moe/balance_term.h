#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/moe/records.h"

namespace switchyard {

/// What a balance term may know when its value is formed: numbers of the whole micro-batch.
struct TermContext {
  int64_t sequence_length = 0;
  at::Tensor step_counts_E;  ///< scope step: counts that f is made of, fp64; else undefined
};

/// What the coefficients of a step depend on. The same on every rank.
struct StepCoefficients {
  int64_t step = 0;    ///< optimizer steps done
  double relu_l1 = 0;  ///< λ of the relu router's own term
};

/// One entry of `moe.balance`, written without a word about ranks: the layer forms sums per
/// sequence, the loss gathers them from all ranks in global order, and value() is a plain
/// differentiable function of that matrix. Its gradient by the rows of this rank's sequences is all
/// that backward needs. A term takes the number of experts from what it is given, so that one list
/// of terms serves layers of different sizes.
class BalanceTerm {
 public:
  virtual ~BalanceTerm() = default;
  /// [S, width] in fp64, differentiable where the term has a gradient. Local. `decision` is the
  /// router's, before capacity.
  virtual at::Tensor sequence_sums(const RoutingDecision& decision,
                                   const RoutingContext& context) const = 0;
  /// The term (a scalar, 1 at perfect balance or 0 where semantics says so), without its
  /// coefficient, over all N sequences of the micro-batch. Differentiable in sums_NW.
  virtual at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const = 0;
  /// Counts [E] in the sums that a term of scope step adds up over micro-batches; undefined
  /// otherwise.
  virtual at::Tensor counts(const at::Tensor& sums_NW) const;
  /// Whether f is to be counted over the whole step before its first micro-batch (`f: exact`).
  virtual bool needs_counting_pass() const { return false; }
  /// The value of a term that looks at the router's weight alone, once per step: its sums have no
  /// columns and its value() is 0. Undefined for the others. Differentiable in router_ED.
  virtual at::Tensor weight_value(const at::Tensor& router_ED) const;
  virtual double coefficient(const StepCoefficients& now) const = 0;
  virtual const std::string& name() const = 0;
};
using BalanceTerms = std::vector<std::shared_ptr<const BalanceTerm>>;

/// What an MoE layer returns; never stored in the module, so recomputation cannot count it twice.
struct MoEOutput {
  at::Tensor y_TD;
  RoutingDecision decision;
  ExpertWork work;
  std::vector<at::Tensor> terms;  ///< sequence_sums of each balance term
  at::Tensor margins_TE;          ///< quantile_margins() in training under that bias rule
};

}  // namespace switchyard
