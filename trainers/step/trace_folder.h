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
/// experts of each layer, K and the shape of the step.
class TraceFolder : public RoutingTrace {
 public:
  /// Before the first forward pass of a step: fetches what it replays. Collective.
  virtual void begin_step(int64_t step) = 0;
  /// After the last one: writes what it recorded, a file at a time and whole. Collective; a failed
  /// write throws on every rank.
  virtual void end_step() = 0;
};

/// For `train.record_routing` and `train.replay_routing`; nullptr when neither is set. Collective.
/// Throws ConfigError where a step to replay is missing or was recorded by another model.
std::unique_ptr<TraceFolder> open_trace_folder(FileOps& files, Communicator& world,
                                               const TrainConfig& config);

}  // namespace switchyard
