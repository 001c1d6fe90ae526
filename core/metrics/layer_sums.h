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
  int64_t tokens = 0;                                  ///< tokens routed
  int64_t tokens_without_expert = 0;    ///< tokens all of whose assignments were refused
  int64_t device_pairs = 0;             ///< Σ over tokens of the distinct devices that serve it
  std::vector<int64_t> received_N;      ///< tokens that the experts of each rank served
  std::vector<int64_t> computed_E;      ///< rows that the experts computed
  int64_t repeats = 0, neighbours = 0;  ///< neighbours in a sequence: with equal first experts, all
  int64_t moved = 0, biased_tokens = 0;  ///< choices that a bias moved; tokens chosen with a bias
  std::vector<double> prob_sum_E;        ///< Σ_t p_te; zeros for routers without probabilities
  double entropy_sum = 0;                ///< Σ_t H(p_t), nats
  double z_sum = 0;                      ///< Σ_t (logsumexp of the logits)²
  double logit_max = 0;

  std::vector<int64_t> counts_E() const;  ///< over all micro-batches
};

/// What the metrics know of the tokens of a forward pass beside their routing.
struct TokenFacts {
  at::Tensor domain_T;          ///< int64; undefined to leave domains out
  int64_t sequence_length = 0;  ///< L; 0 to leave neighbours out
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
    int64_t rank = 0, num_ranks = 1;
  };

  RoutingSums(const Shape& shape, at::Device device);

  /// Says which of `num_devices` devices (ranks of the expert axis) holds each expert: an int64
  /// tensor [E] for each layer, −1 where no device but the token's own serves it. Without it, all
  /// are on one device.
  void set_placement(const std::vector<at::Tensor>& device_E, int64_t num_devices);
  /// Adds this rank's decision of a layer for micro-batch `micro`, once per forward pass that
  /// counts.
  void accumulate(int64_t layer, int64_t micro, const RoutingDecision& decision,
                  const TokenFacts& tokens);
  /// Adds what this rank's experts did in that forward pass.
  void accumulate(int64_t layer, const ExpertWork& work);
  void reset();

  /// int64, to be summed over ranks. Per layer: counts [M, E], domain counts [D, E], computed [E],
  /// received [ranks], then scalars.
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
    at::Tensor counts_ME, domain_counts_DE, computed_E, received_N, integer_scalars;
    at::Tensor prob_sum_E, real_scalars, logit_max;
  };
  /// Cuts tensors laid out like integers(), reals() and maxima() into layers.
  std::vector<Views> cut(const at::Tensor& integers, const at::Tensor& reals,
                         const at::Tensor& maxima) const;
  at::Tensor device_pairs(int64_t layer, const RoutingDecision& decision,
                          const at::Tensor& served_T) const;

  Shape shape_;
  std::vector<at::Tensor> device_E_;  ///< per layer
  int64_t num_devices_ = 1;
  bool some_nowhere_ = false;  ///< a −1 in device_E_
  at::Tensor integers_, reals_, maxima_;
  std::vector<Views> views_;
};

}  // namespace switchyard
