#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace switchyard {

/// The state that a run ends with, and what its summary must hold.
struct RunEnd {
  int64_t step = 0;
  std::string state_hash;
  bool evaluated = true;  ///< with val_nll
};

/// The text of the summary.json at `path` if it is the final one of a run that ends so: each
/// evaluation writes one, and a run may stop before its last. "" where it is not. Local.
std::string final_summary(const std::string& path, const RunEnd& end);

/// What a summary says of its last step. NaN where it is not known.
struct LastStep {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double nll = kUnknown;
  double drop_rate = kUnknown;  ///< mean over MoE layers; 0 without any
  double tokens_per_s = kUnknown;
};

/// The same of training step `step`, as the metrics.jsonl at `path` has it. Local.
LastStep logged_step(const std::string& path, int64_t step);

}  // namespace switchyard
