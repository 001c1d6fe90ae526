#pragma once

#include <memory>
#include <string>

#include "core/base/communicator.h"
#include "core/checkpoint/file_ops.h"
#include "core/moe/routing_trace.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// A folder of routing decisions: `step-00000001.safetensors` holds for the first step a tensor
/// `layers.N.expert_ids` [tokens of the step, K] (int32, −1 = none) for every MoE layer, by global
/// token, so that any number of ranks can replay what any number recorded. Its metadata name the
/// step and what a run that replays it must share: data, seed, the shape of the step, the sizes of
/// the model, its MoE layers, their experts and K; and the folder of the run that recorded it.
class TraceFolder : public RoutingTrace {
 public:
  /// Before the first step of a run that goes on from `step`: recorded steps beyond it are removed.
  /// Collective. Throws ConfigError, and removes nothing, where the folder holds steps of another
  /// run, or any for a run that starts at step 0; or where it cannot be made.
  virtual void start(int64_t step) = 0;
  /// Before the first forward pass of a step: fetches what it replays, checked as before the run.
  /// Collective.
  virtual void begin_step(int64_t step) = 0;
  /// After the last one: writes what it recorded, a file at a time and whole. Collective; a failed
  /// write throws on every rank.
  virtual void end_step() = 0;
};

/// For `train.record_routing` and `train.replay_routing` of a resolved config; nullptr when neither
/// is set. `data` is the fingerprint of the token source, compared like the rest. Collective.
/// Reads every step to replay and throws ConfigError where one is missing, is another step than its
/// name says, was recorded by another model or from other data, or lacks decisions that this run
/// can follow; and, under `run.resume: never`, throws what start(0) would: the run folder is still
/// as it was.
std::unique_ptr<TraceFolder> open_trace_folder(FileOps& files, Communicator& world,
                                               const TrainConfig& config, const std::string& data);

/// Throws what open_trace_folder() and then start(`step`) would, but writes nothing: it does not
/// find out whether a folder can be made. Collective.
void check_trace_folder(FileOps& files, Communicator& world, const TrainConfig& config,
                        const std::string& data, int64_t step);

}  // namespace switchyard
