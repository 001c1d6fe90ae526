#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "core/metrics/report.h"

namespace switchyard {

/// One line per logged step, and below the lines on a terminal a progress bar in place. Without a
/// terminal: plain lines, no carriage return, no colour. Throws IoError when the stream fails.
class ConsoleSink : public MetricSink {
 public:
  ConsoleSink(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}
  ~ConsoleSink() override;

  void on_step(const StepReport& report) override;
  void on_eval(const EvalReport& report) override;
  void on_finish(const Summary& summary) override;
  /// Moves the bar; for steps that are not logged. Nothing without a terminal.
  void progress(int64_t step, int64_t total_steps);

 private:
  void line(const std::string& text);
  void clear_bar();

  std::ostream& out_;
  bool terminal_;
  std::string bar_;  ///< on the screen now
};

/// "step 120/1000 12% | loss 2.813 (nll 2.801 aux .012) | lr 3.0e-04 | gnorm 0.28 | 69.4k tok/s |
/// vio 0.08 floor 0.02 drop 0.0% dead 0 | mem 1.2G | eta 4m12s"; vio, floor and drop are means over
/// MoE layers, dead is their sum.
std::string console_line(const StepReport& report);
std::string console_line(const EvalReport& report);
std::string console_line(const Summary& summary);

}  // namespace switchyard
