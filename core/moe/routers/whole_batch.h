#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/moe/records.h"

namespace switchyard {

/// The rows of all ranks, in global token order, and where this rank's own begin.
struct WholeBatch {
  at::Tensor rows;  ///< [tokens of the micro-batch, ...]
  int64_t first = 0, count = 0;

  /// This rank's part of a tensor with a row per token.
  at::Tensor own(const at::Tensor& per_token) const { return per_token.narrow(0, first, count); }
};

/// Gathers rows_TE, without gradient. Collective over context.communicator; a rank may have no
/// rows.
WholeBatch gather_batch(const at::Tensor& rows_TE, const RoutingContext& context);

/// Whether routers that assign a whole batch do so: in training, or in evaluation when asked.
bool assigns_whole_batch(const RoutingContext& context);

}  // namespace switchyard
