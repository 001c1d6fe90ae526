#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// Rows that travel between the ranks of a group: `send_rows[r]` go to rank r, `receive_rows[r]`
/// come.
struct ExchangePlan {
  Communicator* group = nullptr;
  std::vector<int64_t> send_rows, receive_rows;

  int64_t num_sent() const;
  int64_t num_received() const;
  ExchangePlan reversed() const { return {group, receive_rows, send_rows}; }
};

/// An all-to-all in flight whose result is differentiable: the backward pass sends the gradients
/// back the way the rows came. Collective at start, and again in backward.
class Exchange {
 public:
  /// Starts sending `rows` (dim 0 in rank order).
  Exchange(ExchangePlan plan, const at::Tensor& rows);
  /// Waits; the received rows in rank order, connected to the graph of the sent ones.
  at::Tensor received();

 private:
  ExchangePlan plan_;
  at::Tensor sent_, buffer_;
  WorkPtr work_;
};

}  // namespace switchyard
