#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/moe/records.h"

namespace switchyard {

// Shape suffixes: T tokens, K columns of a decision, E experts, D domains, M micro-batches.

/// Sums of one MoE layer over a step (or an evaluation), over all ranks once reduced. What the
/// metrics of semantics section 5 are made of.
struct LayerSums {
  std::vector<std::vector<int64_t>> counts_ME;         ///< assignments selected, before drops
  std::vector<std::vector<int64_t>> domain_counts_DE;  ///< the same by the token's domain
  int64_t kept = 0;                                    ///< assignments not refused by the capacity
  int64_t tokens = 0;
  int64_t tokens_without_expert = 0;  ///< tokens all of whose assignments were refused
  int64_t device_pairs = 0;           ///< Σ over tokens of the distinct devices that serve it
  std::vector<double> prob_sum_E;     ///< Σ_t p_te; zeros for routers without probabilities
  double entropy_sum = 0;             ///< Σ_t H(p_t), nats
  double z_sum = 0;                   ///< Σ_t (logsumexp of the logits)²
  double logit_max = 0;

  std::vector<int64_t> counts_E() const;  ///< over all micro-batches
};

/// Gathers LayerSums of all layers on the device that computes them, in three flat tensors, so that
/// one reduction of each carries every layer. Nothing waits for the host before layers(). Layers
/// may have different numbers of experts, decisions different numbers of columns.
class RoutingSums {
 public:
  struct Shape {
    std::vector<int64_t> experts;  ///< of each MoE layer
    int64_t domains = 0;
    int64_t micro_batches = 1;  ///< an evaluation uses 1 for all its batches
  };

  RoutingSums(const Shape& shape, at::Device device);

  /// Says which of `num_devices` devices (ranks of the expert axis) holds each expert: an int64
  /// tensor [E] for each layer. Without it, all are on one device.
  void set_placement(const std::vector<at::Tensor>& device_E, int64_t num_devices);
  /// Adds this rank's decision of a layer for micro-batch `micro`, once per forward pass that
  /// counts. `domain_T`: int64, domain of each token; undefined to leave domains out.
  void accumulate(int64_t layer, int64_t micro, const RoutingDecision& decision,
                  const at::Tensor& domain_T);
  void reset();

  /// int64, to be summed over ranks. Per layer: counts [M, E], domain counts [D, E], kept, tokens,
  /// tokens without expert, device pairs.
  const at::Tensor& integers() const { return integers_; }
  /// fp64, to be summed over ranks. Per layer: p [E], entropy, z.
  const at::Tensor& reals() const { return reals_; }
  /// fp64, to be maximised over ranks. Per layer: largest logit.
  const at::Tensor& maxima() const { return maxima_; }

  /// Copies the sums to the host: one entry per layer.
  std::vector<LayerSums> layers() const;

 private:
  /// One layer's part of the flat tensors.
  struct Views {
    at::Tensor counts_ME, domain_counts_DE, integer_scalars, prob_sum_E, real_scalars, logit_max;
  };
  /// Cuts tensors laid out like integers(), reals() and maxima() into layers.
  std::vector<Views> cut(const at::Tensor& integers, const at::Tensor& reals,
                         const at::Tensor& maxima) const;
  at::Tensor device_pairs(int64_t layer, const RoutingDecision& decision,
                          const at::Tensor& served_T) const;

  Shape shape_;
  std::vector<at::Tensor> device_E_;  ///< per layer
  int64_t num_devices_ = 1;
  at::Tensor integers_, reals_, maxima_;
  std::vector<Views> views_;
};

}  // namespace switchyard
