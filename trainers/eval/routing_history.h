#pragma once

#include "core/base/communicator.h"
#include "core/metrics/report.h"
#include "trainers/step/evaluator.h"

namespace switchyard {

/// How routing settles over the checkpoints of a run, each evaluated on the same sequences by the
/// same ranks.
class RoutingHistory {
 public:
  /// `last`: of the newest checkpoint.
  RoutingHistory(Communicator& world, Choices last);

  /// Adds to the report of the next checkpoint, by ascending step, for each MoE layer:
  ///   saturation: share of the newest checkpoint's choices that this one makes already;
  ///   churn: share of this one's choices that the one before did not make, NaN for the first;
  ///   saturation_first, churn_first: the same for tokens' first choices.
  /// Collective.
  void describe(Choices choices, EvalReport& report);

 private:
  Communicator& world_;
  Choices last_, previous_;
};

}  // namespace switchyard
