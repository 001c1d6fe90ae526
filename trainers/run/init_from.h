#pragma once

#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/checkpoint/file_ops.h"
#include "core/checkpoint/state.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// Fills weights and router biases of a run that starts from those at `path`: a checkpoint, or the
/// newest whole one of a run. `state` holds this rank's live tensors; what is fp64 here may be fp32
/// there. What the weights mean must be the same in both configs: the model but for max_seq_len and
/// init_std, and of moe all but balance, bias, capacity and what only starts or disturbs training;
/// a hash router whose table follows from run.seed needs that seed, too. Biases that the checkpoint
/// lacks stay as they are, and so does the state of the rules that move biases and capacity.
/// Collective. Throws CheckpointError with the differences, or naming tensors that are missing or
/// of another shape. Returns notices.
std::vector<std::string> init_from(Communicator& comm, FileOps& files, const std::string& path,
                                   const TrainConfig& now, const StateList& state);

}  // namespace switchyard
