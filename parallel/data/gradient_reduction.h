#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/base/communicator.h"
#include "parallel/mesh/mesh.h"

namespace switchyard {

/// A flat piece of the gradients: contiguous, one dimension, the same layout on every rank that
/// shares it.
struct GradientBucket {
  at::Tensor flat;
  bool expert = false;  ///< of the experts held here (shared with the replicas), or of all ranks
};

/// Sums gradients over the ranks that share them, in place and in rank order: dense buckets over
/// the world, expert buckets over the replicas. Nothing is divided here: the loss is already
/// divided by the step's global token count, so the expert axis never changes a gradient.
class GradientReduction {
 public:
  /// The mesh must outlive it.
  explicit GradientReduction(const Mesh& mesh) : mesh_(mesh) {}

  /// Collective over the ranks that share the bucket, which start their buckets in the same order.
  /// Returns at once where the backend can; the bucket belongs to the reduction until finish().
  void start(const GradientBucket& bucket);
  /// Waits for every started bucket.
  void finish();

  /// Collective over the mesh's world, after finish(): Σ g² over all parameters of the model, each
  /// counted once. Dense buckets are divided among all ranks, expert buckets among their replicas;
  /// sums are fp64 in a fixed order, and every rank gets the same bits. Waits for the device.
  double global_squared_norm(const std::vector<GradientBucket>& buckets) const;

 private:
  const Mesh& mesh_;
  std::vector<WorkPtr> started_;
};

}  // namespace switchyard
