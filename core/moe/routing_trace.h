#pragma once

#include <ATen/core/Tensor.h>

#include "core/moe/records.h"

namespace switchyard {

/// Keeps the assignments of a run, or gives back those of another. Local; called by every MoE layer
/// in training, in each forward pass (twice for the same tokens under recomputation).
class RoutingTrace {
 public:
  virtual ~RoutingTrace() = default;
  /// The recorded experts [T, K] of these tokens, int64; undefined where the router decides.
  virtual at::Tensor replayed(const RoutingContext& context, int64_t num_tokens) const = 0;
  /// What the router selected, before the capacity policy.
  virtual void record(const RoutingContext& context, const at::Tensor& expert_ids_TK) = 0;
};

}  // namespace switchyard
