#include "trainers/journal.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/config/nearest.h"
#include "core/metrics/file_output.h"
#include "core/metrics/jsonl_sink.h"
#include "core/metrics/tensorboard_sink.h"

namespace switchyard {
namespace {

// The evaluation after the last step is written once, however often it is made.
void cut_evaluation(const std::string& path, int64_t step) {
  if (!std::filesystem::exists(path)) return;
  const std::string content = read_file(path);
  size_t kept = content.size();
  while (kept > 0) {
    const size_t before = content.rfind('\n', kept - 2);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    const auto line = nlohmann::json::parse(content.substr(begin, kept - begin), nullptr,
                                            /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("event") || line.value("step", int64_t{-1}) != step)
      break;
    kept = begin;
  }
  if (kept < content.size()) write_atomically(path, content.substr(0, kept));
}

}  // namespace

Journal::Journal(const RunFolder& folder, const TrainConfig& config, const JournalStart& start)
    : first_rank_(start.rank == 0), every_(config.log.every), log_(folder.log(start.rank)) {
  if (!first_rank_) return;
  JsonlSink::cut(folder.metrics(), start.step);
  if (start.ended) cut_evaluation(folder.metrics(), start.step);
  auto console = std::make_unique<ConsoleSink>(std::cout, start.terminal);
  console_ = console.get();
  sinks_.push_back(std::move(console));
  sinks_.push_back(std::make_unique<JsonlSink>(folder.metrics()));
  if (!config.log.tensorboard) return;
  TensorBoardSink::cut(folder.tensorboard(), start.step);
  sinks_.push_back(std::make_unique<TensorBoardSink>(folder.tensorboard()));
}

void Journal::on_step(const StepReport& report) {
  if (!first_rank_) return;
  const bool logged =
      report.step == report.total_steps || (every_ > 0 && report.step % every_ == 0);
  if (logged)
    for (const auto& sink : sinks_) sink->on_step(report);
  else
    console_->progress(report.step, report.total_steps);
}

void Journal::on_eval(const EvalReport& report) {
  for (const auto& sink : sinks_) sink->on_eval(report);
}

void Journal::on_finish(const Summary& summary) {
  for (const auto& sink : sinks_) sink->on_finish(summary);
}

void Journal::note(const std::string& text) {
  const std::string line = one_line(text);
  std::ofstream(log_, std::ios::app) << line << "\n";
  if (first_rank_) fmt::print(stderr, "note: {}\n", line);
}

}  // namespace switchyard
