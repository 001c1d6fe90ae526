#include "core/metrics/tensorboard_sink.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>

#include "core/base/error.h"
#include "core/metrics/tensorboard_event.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Scalars = std::vector<std::pair<std::string, float>>;

constexpr const char* kPrefix = "events.out.tfevents.";

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string new_file(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw IoError(fmt::format("{}: cannot make the folder: {}", folder, error.message()));
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  // The last number tells apart the files that one process starts within a second.
  for (int i = 0;; ++i) {
    const auto path =
        fs::path(folder) / fmt::format("{}{:010d}.{}.{}.{}", kPrefix, static_cast<int64_t>(now()),
                                       host, ::getpid(), i);
    if (!fs::exists(path)) return path.string();
  }
}

void add(Scalars& scalars, const std::string& tag, double value) {
  scalars.emplace_back(tag, static_cast<float>(value));
}

template <class Report>
void add_layers(Scalars& scalars, const std::string& group, const Report& report) {
  for (const auto& [name, values] : report.moe) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i]))  // a router may lack what a metric is made of
        add(scalars, fmt::format("{}/{}/layer_{}", group, name, i), values[i]);
    }
  }
}

}  // namespace

TensorBoardSink::TensorBoardSink(const std::string& folder) : file_(new_file(folder)) {
  file_.append(event_record(version_event(now())));
}

void TensorBoardSink::on_step(const StepReport& r) {
  Scalars scalars;
  add(scalars, "train/loss", r.loss);
  add(scalars, "train/nll", r.nll);
  add(scalars, "train/aux_loss", r.aux_loss);
  add(scalars, "train/lr", r.lr);
  add(scalars, "train/grad_norm", r.grad_norm);
  add(scalars, "train/tokens_per_s", r.tokens_per_s);
  add(scalars, "train/step_ms", r.step_ms);
  add_layers(scalars, "moe", r);
  file_.append(event_record(scalar_event(now(), r.step, scalars)));
}

void TensorBoardSink::on_eval(const EvalReport& r) {
  Scalars scalars;
  add(scalars, "val/nll", r.nll);
  for (const auto& [domain, nll] : r.nll_by_domain) add(scalars, "val/nll/" + domain, nll);
  if (r.nll_token_choice) add(scalars, "val/nll_token_choice", *r.nll_token_choice);
  if (r.nll_whole_batch) add(scalars, "val/nll_whole_batch", *r.nll_whole_batch);
  if (r.excess_loss) add(scalars, "val/excess_loss", *r.excess_loss);
  if (r.bits_per_byte) add(scalars, "val/bits_per_byte", *r.bits_per_byte);
  add_layers(scalars, "val_moe", r);
  file_.append(event_record(scalar_event(now(), r.step, scalars)));
}

void TensorBoardSink::cut(const std::string& folder, int64_t step) {
  if (!fs::is_directory(folder)) return;
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(kPrefix))
      files.push_back(entry.path().string());
  }
  for (const auto& file : files) {
    const std::string content = read_file(file);
    std::string kept;
    for (const EventRecord& record : read_records(content)) {
      if (record.step <= step) kept += record.bytes;
    }
    if (kept.size() < content.size()) write_atomically(file, kept);
  }
}

}  // namespace switchyard
