#pragma once

#include <cstdint>
#include <string>

#include "core/metrics/file_output.h"
#include "core/metrics/report.h"

namespace switchyard {

/// metrics.jsonl: one object a line, numbers that read back to the same bits, NaN as null.
/// Training lines: step tokens wall_s loss nll aux_loss lr grad_norm tokens_per_s step_ms,
/// `skipped` where the update was, and moe: metric → list over MoE layers, with `load` and
/// `received`. Evaluation lines begin with "event":"eval"; max_vio_global and domain_mi stand there
/// as means over MoE layers too.
class JsonlSink : public MetricSink {
 public:
  /// Appends to `path`.
  explicit JsonlSink(const std::string& path) : file_(path) {}
  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;

  /// For a resumed run: drops everything after the last line with step ≤ `step`, torn line
  /// included. A path that does not exist is left alone; a damaged line before the last throws
  /// IoError.
  static void cut(const std::string& path, int64_t step);

 private:
  AppendFile file_;
};

std::string json_line(const StepReport& report);
std::string json_line(const EvalReport& report);
/// The same with the tables that are too large for a log: co_activation.
std::string json_line_with_tables(const EvalReport& report);

}  // namespace switchyard
