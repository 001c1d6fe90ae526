#include "core/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace switchyard {

double learning_rate(const OptimOptions& options, int64_t step, int64_t total_steps) {
  if (step < options.warmup_steps)
    return options.lr * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  if (options.schedule == "constant") return options.lr;
  const int64_t start = options.schedule == "wsd"
                            ? std::max(options.warmup_steps, total_steps - options.decay_steps)
                            : options.warmup_steps;
  const int64_t length = std::max<int64_t>(total_steps - 1 - start, 1);
  const double progress =
      std::clamp(static_cast<double>(step - start) / static_cast<double>(length), 0.0, 1.0);
  const double remaining = options.schedule == "cosine"
                               ? 0.5 * (1 + std::cos(std::numbers::pi * progress))
                               : 1 - progress;
  return options.min_lr + (options.lr - options.min_lr) * remaining;
}

}  // namespace switchyard
