#pragma once

#include <memory>

#include "core/moe/records.h"

namespace switchyard {

/// One exchange in flight. Used once: received() then combine().
class DispatchHandle {
 public:
  virtual ~DispatchHandle() = default;
  /// Waits for the tokens. Collective over the expert-parallel group.
  virtual Dispatched received() = 0;
  /// Brings the experts' results home: y_TD, the ranks' partial sums added in rank order.
  /// Differentiable. Collective over the expert-parallel group, forward and backward.
  virtual at::Tensor combine(const at::Tensor& y_UD) = 0;
};

/// Carries tokens to the ranks that hold their experts and back. The backward pass runs the reverse
/// exchange, so every rank of the group must run it, with or without tokens of its own.
class TokenDispatcher {
 public:
  virtual ~TokenDispatcher() = default;
  /// Starts the exchange of the kept assignments. Collective over the expert-parallel group.
  virtual std::unique_ptr<DispatchHandle> dispatch(const at::Tensor& x_TD,
                                                   const RoutingDecision& decision) = 0;
  /// Global numbers of the experts held here, in slot order.
  virtual const std::vector<int64_t>& local_experts() const = 0;
};

/// All experts in this process: no exchange, x_UD is x_TD itself.
std::unique_ptr<TokenDispatcher> make_local_dispatcher(int64_t num_experts);

}  // namespace switchyard
