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
  std::string shipped_dir;             ///< of shipped configs
  at::Device device = at::kCPU;
};

/// Loads the newest verified checkpoint's weights into any number of ranks and evaluates them.
/// Collective; the report is the same on every rank.
EvalReport run_eval(const EvalJob& job, Communicator& world);

/// A table for people, and one JSON object with the names of metrics.jsonl and the co-activation of
/// each pair of experts.
std::string eval_table(const EvalReport& report);
std::string eval_json(const EvalReport& report);

}  // namespace switchyard
