#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/moe/records.h"

namespace switchyard {

// Shape suffixes: T tokens, E experts, V vocabulary.

/// What an evaluation knows of one MoE layer beside LayerSums: sums that a training step would pay
/// too dearly for.
struct EvaluationLayer {
  std::vector<int64_t> token_counts;  ///< [V · E] assignments by token id; empty when left out
  std::vector<std::vector<int64_t>> pair_counts_EE;  ///< tokens that have both experts
  double gap_sum = 0;                     ///< Σ_t of the K-th less the (K+1)-th selection key
  int64_t gap_tokens = 0;                 ///< tokens with both
  std::vector<double> mean_square_sum_E;  ///< ExpertWork's, over all rows
  std::vector<double> weight_norm_E;      ///< −inf for experts without weights
};

/// Gathers EvaluationLayers on the device that computes them, in three flat tensors like those of
/// RoutingSums.
class EvaluationSums {
 public:
  /// Cells of the token tables of all layers, above which they are left out: 128 MiB a rank.
  static constexpr int64_t kMostTokenCells = int64_t{1} << 24;

  struct Shape {
    std::vector<int64_t> experts;  ///< of each MoE layer
    int64_t top_k = 1;
    int64_t vocab_size = 0;
  };

  EvaluationSums(const Shape& shape, at::Device device);

  /// Adds a forward pass of this rank. `token_T`: int64, ids of its tokens.
  void accumulate(int64_t layer, const RoutingDecision& decision, const ExpertWork& work,
                  const at::Tensor& token_T);
  /// fp64 [E], −inf for the experts of other ranks.
  void set_weight_norms(int64_t layer, const at::Tensor& norms_E);

  const at::Tensor& integers() const { return integers_; }  ///< to be summed over ranks
  const at::Tensor& reals() const { return reals_; }        ///< to be summed over ranks
  const at::Tensor& maxima() const { return maxima_; }      ///< to be maximised over ranks

  /// Copies the sums to the host: one entry per layer.
  std::vector<EvaluationLayer> layers() const;

 private:
  struct Views {
    at::Tensor token_counts, pair_counts_EE, gap_tokens, mean_square_sum_E, gap_sum, weight_norm_E;
  };
  std::vector<Views> cut(const at::Tensor& integers, const at::Tensor& reals,
                         const at::Tensor& maxima) const;
  void add_gap(Views& views, const at::Tensor& ranking_TE) const;

  Shape shape_;
  at::Tensor integers_, reals_, maxima_;
  std::vector<Views> views_;
};

}  // namespace switchyard
