#include "core/metrics/jsonl_sink.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/metrics/json_writer.h"
#include "core/metrics/summary.h"

namespace switchyard {
namespace {

template <class Report>
JsonObject moe_object(const Report& report) {
  JsonObject moe;
  for (const auto& [name, values] : report.moe) moe.add(name, values);
  if (!report.load.empty()) moe.add("load", report.load);
  if (!report.received.empty()) moe.add("received", report.received);
  return moe;
}

/// Step of a complete line; nothing for a torn one.
std::optional<int64_t> step_of(const std::string& line) {
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) {
    return std::nullopt;
  }
  return object["step"].get<int64_t>();
}

}  // namespace

std::string json_line(const StepReport& r) {
  JsonObject object;
  object.add("step", r.step).add("tokens", r.tokens).add("wall_s", r.wall_s);
  object.add("loss", r.loss).add("nll", r.nll).add("aux_loss", r.aux_loss);
  object.add("lr", r.lr).add("grad_norm", r.grad_norm);
  object.add("tokens_per_s", r.tokens_per_s).add("step_ms", r.step_ms);
  if (r.skipped) object.add_flag("skipped", true);
  object.add("moe", moe_object(r));
  return object.text() + "\n";
}

namespace {

JsonObject object_of(const EvalReport& r) {
  JsonObject by_domain;
  for (const auto& [name, nll] : r.nll_by_domain) by_domain.add(name, nll);
  JsonObject object;
  object.add("event", "eval").add("step", r.step).add("sequences", r.sequences);
  object.add("tokens", r.tokens).add("val_nll", r.nll).add("val_nll_by_domain", by_domain);
  if (r.nll_token_choice) object.add("val_nll_token_choice", r.nll_token_choice);
  if (r.nll_whole_batch) object.add("val_nll_whole_batch", r.nll_whole_batch);
  if (r.excess_loss) object.add("excess_loss", r.excess_loss);
  if (r.excess_loss_h0) object.add("excess_loss_h0", r.excess_loss_h0);
  if (r.bits_per_byte) object.add("bits_per_byte", r.bits_per_byte);
  for (const char* name : {"max_vio_global", "domain_mi"}) {
    if (const auto mean = layer_mean(r.moe, name)) object.add(name, mean);
  }
  object.add("moe", moe_object(r));
  return object;
}

}  // namespace

std::string json_line(const EvalReport& report) {
  return object_of(report).text() + "\n";
}

std::string json_line_with_tables(const EvalReport& report) {
  JsonObject object = object_of(report);
  if (!report.co_activation.empty()) object.add("co_activation", report.co_activation);
  return object.text() + "\n";
}

void JsonlSink::on_step(const StepReport& report) {
  file_.append(json_line(report));
}

void JsonlSink::on_eval(const EvalReport& report) {
  file_.append(json_line(report));
}

void JsonlSink::cut(const std::string& path, int64_t step) {
  if (!std::filesystem::exists(path)) return;
  const std::string content = read_file(path);
  size_t kept = 0;
  while (kept < content.size()) {
    const size_t end = content.find('\n', kept);
    const bool whole = end != std::string::npos;
    const auto found = whole ? step_of(content.substr(kept, end - kept)) : std::nullopt;
    if (!found && whole && end + 1 < content.size()) {
      throw IoError(fmt::format("{}: the line at byte {} is damaged", path, kept));
    }
    if (!found || *found > step) break;
    kept = end + 1;
  }
  if (kept < content.size()) write_atomically(path, content.substr(0, kept));
}

}  // namespace switchyard
