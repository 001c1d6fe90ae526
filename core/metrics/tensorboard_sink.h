#pragma once

#include <cstdint>
#include <string>

#include "core/metrics/file_output.h"
#include "core/metrics/report.h"

namespace switchyard {

/// TensorBoard scalars: train/NAME, val/NAME, val/nll/DOMAIN and moe/METRIC/layer_I (val_moe/ in
/// evaluations). Each sink writes an event file of its own, flushed at each report.
class TensorBoardSink : public MetricSink {
 public:
  /// Makes `folder` and a new file in it. Throws IoError.
  explicit TensorBoardSink(const std::string& folder);
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;

  /// For a resumed run: removes the events of later steps from every event file of `folder`.
  static void cut(const std::string& folder, int64_t step);

 private:
  AppendFile file_;
};

}  // namespace switchyard
