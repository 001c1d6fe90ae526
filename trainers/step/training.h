#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/checkpoint/state.h"
#include "core/data/loader.h"
#include "core/loss/balance_loss.h"
#include "core/loss/relu_l1.h"
#include "core/metrics/routing_metrics.h"
#include "core/model/transformer.h"
#include "core/optim/flat_parameters.h"
#include "core/optim/optimizer.h"
#include "parallel/data/gradient_reduction.h"
#include "parallel/mesh/mesh.h"
#include "trainers/config/train_config.h"
#include "trainers/step/trace_folder.h"

namespace switchyard {

/// Everything a run is made of, built once from the config. Each rank holds its own; members marked
/// "same" have equal values on every rank.
struct Training {
  TrainConfig config;   ///< resolved: no `auto` is left; same
  Communicator* world;  ///< outlives the run
  std::unique_ptr<Mesh> mesh;
  std::unique_ptr<TokenSource> source;
  std::unique_ptr<Loader> loader;
  Transformer model{nullptr};
  std::unique_ptr<FlatBucket> dense, experts;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<GradientReduction> reduction;
  std::unique_ptr<BalanceLoss> balance;
  std::unique_ptr<ReluL1> relu_l1;          ///< of a relu router, else null; same
  std::unique_ptr<TraceFolder> trace;       ///< nullptr: assignments are neither kept nor replayed
  std::unique_ptr<LoadWindow> recent_load;  ///< loads of the last steps; same
  /// Of each MoE layer: int64 [E], rank of the expert axis that holds each expert, −1 where every
  /// rank does.
  std::vector<at::Tensor> expert_device_E;
  at::Device device = at::kCPU;

  int64_t step = 0;    ///< optimizer steps done; same
  int64_t tokens = 0;  ///< tokens seen; same

  at::Tensor capacity_factor;  ///< fp64 [1], moved by `moe.capacity.dynamic`, else undefined; same

  at::Tensor saved_step, saved_tokens;  ///< int64 scalars: `step` and `tokens` as saved state

  int64_t micro_batches_per_step() const { return config.num_micro_batches(); }
  int64_t tokens_per_step() const {
    return config.train.sequences_per_step * config.sequence_length();
  }
  int64_t moe_layers() const { return static_cast<int64_t>(model->moe_layers().size()); }
};

/// Builds a run at step 0. Collective. Throws ConfigError or DataError on every rank alike.
std::unique_ptr<Training> build_training(const TrainConfig& config, Communicator& world,
                                         at::Device device);

/// Experts of each MoE layer that tokens can be routed to.
std::vector<int64_t> experts_per_layer(const Transformer& model);
/// What the layers may know about a batch whose row 0 is sequence `first_sequence`.
RoutingContext routing_context(const Training& training, int64_t first_sequence, bool for_training);

/// Weights, router biases and controllers held by this rank, under global names. The tensors are
/// live.
StateList model_state(Training& training);
/// Every tensor of the run's state held by this rank, under global names: weights, optimizer
/// moments, router biases, load windows, positions. The tensors are live.
StateList training_state(Training& training);
/// Copies step and tokens into the saved tensors, before a save.
void stage_counters(Training& training);
/// Takes step and tokens from the saved tensors, after a load, and moves the loader there.
void adopt_counters(Training& training);

/// Parameter counts over all experts, whatever rank holds them.
struct ModelSize {
  int64_t total = 0;
  int64_t active = 0;          ///< those that one token uses, with K feed-forward experts
  double flops_per_token = 0;  ///< training: forward and backward, attention included
};
ModelSize model_size(const TrainConfig& config);

}  // namespace switchyard
