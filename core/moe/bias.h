#pragma once

#include <ATen/core/Tensor.h>

#include "core/moe/options.h"

namespace switchyard {

/// Moves the selection bias after an applied optimizer step. counts_E: int64, assignments of the
/// whole step over all ranks, before drops. In place; local (every rank computes the same).
///   sign  b += rate · sign(Σc − E·c_e), in integers    Wang 2024 (auxiliary-loss-free balancing)
void update_bias(const BiasOptions& options, const at::Tensor& counts_E, at::Tensor& bias_E);

}  // namespace switchyard
