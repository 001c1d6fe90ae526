#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/optim/flat_parameters.h"
#include "core/optim/options.h"

namespace switchyard {

/// Updates the parameters of flat buckets from their gradients, in place.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update; gradients are multiplied by `grad_scale` first (clipping). Local.
  virtual void step(double lr, double grad_scale) = 0;
  /// State tensors in the layout of a bucket's `data`, by suffix: "exp_avg", "exp_avg_sq".
  virtual std::vector<std::pair<std::string, at::Tensor>> states(size_t bucket) = 0;
  /// Updates done so far, int64 scalar: part of the saved state.
  virtual at::Tensor num_updates() = 0;
};

/// AdamW with decoupled decay on parameters of rank ≥ 2 (Loshchilov & Hutter 2019, algorithm 2),
/// one pass over each bucket. The buckets must outlive it.
std::unique_ptr<Optimizer> make_optimizer(const OptimOptions& options,
                                          std::vector<FlatBucket*> buckets);

/// min(1, clip_norm / (norm + 1e-6)); 1 when clip_norm is 0.
double clip_scale(double norm, double clip_norm);

}  // namespace switchyard
