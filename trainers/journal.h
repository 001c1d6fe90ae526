#pragma once

#include <memory>
#include <vector>

#include "core/metrics/console_sink.h"
#include "core/metrics/report.h"
#include "trainers/config/train_config.h"
#include "trainers/run/run_folder.h"

namespace switchyard {

struct JournalStart {
  int rank = 0;
  int64_t step = 0;       ///< this process goes on from here; later entries are cut
  bool terminal = false;  ///< show a progress bar
  bool ended = false;     ///< no step follows, but what comes after the last one: that is cut, too
};

/// Where a run's reports go: console, metrics.jsonl, TensorBoard. Silent on every rank but the
/// first.
class Journal {
 public:
  Journal(const RunFolder& folder, const TrainConfig& config, const JournalStart& start);

  /// Logs every log.every steps and at the last one; moves the progress bar otherwise.
  void on_step(const StepReport& report);
  void on_eval(const EvalReport& report);
  void on_finish(const Summary& summary);
  /// One line for the user, kept in the rank's log, too.
  void note(const std::string& text);

 private:
  bool first_rank_;
  int64_t every_;
  std::string log_;
  std::vector<std::unique_ptr<MetricSink>> sinks_;
  ConsoleSink* console_ = nullptr;
};

}  // namespace switchyard
