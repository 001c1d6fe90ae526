#pragma once

#include <ATen/core/Tensor.h>

#include "core/base/communicator.h"
#include "core/base/error.h"
#include "trainers/config/train_config.h"
#include "trainers/stop_requests.h"

namespace switchyard {

/// What a training job is started with.
struct TrainJob {
  LoadedConfig loaded;
  Communicator* world = nullptr;
  at::Device device = at::kCPU;
  StopRequests* requests = nullptr;
  bool terminal = false;  ///< standard output ends on a terminal: show a progress bar
};

/// Runs a job to its last step, or until it is asked to stop: resumes, trains, evaluates, saves and
/// reports. Collective. Returns kDone, or kTryAgain when it saved and stopped on request. Throws
/// ConfigError, DataError and CheckpointError before any work, NumericError for a loss that is not
/// finite (the state before it is saved first), IoError for a failed save.
ExitCode train(const TrainJob& job);

/// `train --dry-run`: builds everything and returns the sizes as text. Throws what train() throws
/// before any work: on data, the checkpoint that the run goes on from, the weights and the traces
/// that it takes. Writes nothing, so it does not find out whether something can be written.
/// Collective.
std::string dry_run(const TrainJob& job);

}  // namespace switchyard
