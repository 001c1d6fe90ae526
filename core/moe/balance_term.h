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
  int64_t num_experts = 0;
  int64_t top_k = 0;
  at::Tensor step_counts_E;  ///< scope step: counts that f is made of, fp64; else undefined
};

/// One entry of `moe.balance`, written without a word about ranks: the layer forms sums per
/// sequence, the loss gathers them from all ranks in global order, and value() is a plain
/// differentiable function of that matrix. Its gradient by the rows of this rank's sequences is all
/// that backward needs.
class BalanceTerm {
 public:
  virtual ~BalanceTerm() = default;
  /// [S, width] in fp64, differentiable where the term has a gradient. The decision is the router's
  /// own, before capacity. Local.
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
  virtual double coefficient() const = 0;
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
