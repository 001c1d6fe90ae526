#pragma once

#include <cstdint>
#include <vector>

#include "core/metrics/layer_sums.h"
#include "core/metrics/report.h"
#include "trainers/step/training.h"

namespace switchyard {

/// What the micro-batches of one step (or of an evaluation) add up to, over all ranks once reduced.
class StepSums {
 public:
  StepSums(const Training& training, int64_t micro_batches);

  /// Adds one forward pass of this rank.
  void add(const ModelOutput& output, int64_t micro, const TokenFacts& tokens);
  void add_nll(double nll_sum) { nll_sum_ += nll_sum; }
  void add_aux(double aux) { aux_ += aux; }

  /// Collective, once, after the last add().
  void reduce(Communicator& world);

  double nll_sum() const { return nll_sum_; }
  double aux() const { return aux_; }
  const std::vector<LayerSums>& layers() const { return layers_; }
  /// Assignments of a layer over all ranks, before drops: int64.
  at::Tensor counts_E(size_t layer) const;

 private:
  RoutingSums routing_;
  std::vector<LayerSums> layers_;
  double nll_sum_ = 0, aux_ = 0;
};

/// What the metrics know of a batch's tokens.
TokenFacts facts_of(const Batch& batch, at::Device device);
/// Adds what a training holds beside the sums: bias_range of each layer, NaN for those without.
void add_bias_range(const Training& training, LayerMetrics& metrics);

}  // namespace switchyard
