#pragma once

#include <cstdint>

#include "core/optim/options.h"

namespace switchyard {

/// Learning rate of step `step` (from 0) of `total_steps`: linear warm-up over warmup_steps to
/// `lr`, then constant; linear or cosine to `min_lr` at the last step; or wsd: constant, then
/// linear to `min_lr` over the last decay_steps (Hu 2024, MiniCPM). A pure function.
double learning_rate(const OptimOptions& options, int64_t step, int64_t total_steps);

}  // namespace switchyard
