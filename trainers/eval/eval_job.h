#pragma once

#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/metrics/report.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// What `switchyard eval` evaluates.
struct EvalJob {
  std::string run_or_checkpoint;
  std::vector<std::string> overrides;  ///< data given here is evaluated whole
  std::string split = "validation";    ///< validation | train | all
  bool history = false;                ///< every checkpoint, not the newest alone
  at::Device device = at::kCPU;
};

struct EvalResult {
  bool is_history = false;           ///< EvalJob::history
  std::vector<EvalReport> reports;   ///< by ascending step; one where it is no history
  std::vector<std::string> notices;  ///< what the user should read: checkpoints that were skipped
};

/// Loads the newest whole checkpoint's weights into any number of ranks and evaluates them. With
/// `history` every whole checkpoint of the run, with saturation and churn of each MoE layer, on the
/// sequences of the run's own evaluations unless data are given. Collective; the result is the same
/// on every rank.
EvalResult run_eval(const EvalJob& job, Communicator& world);

}  // namespace switchyard
