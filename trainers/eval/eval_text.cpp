#include "trainers/eval/eval_text.h"

#include <cmath>

#include "core/base/error.h"
#include "core/metrics/jsonl_sink.h"
#include "core/metrics/summary.h"

namespace switchyard {
namespace {

std::string table_of(const EvalReport& report) {
  std::string text = fmt::format("step {}, {} sequences, {} scored tokens\n\n", report.step,
                                 report.sequences, report.tokens);
  text += fmt::format("{:<24} {:.4f}\n{:<24} {:.3f}\n", "nll (nats/token)", report.nll,
                      "perplexity", std::exp(report.nll));
  if (report.nll_token_choice)
    text += fmt::format("{:<24} {:.4f}\n", "nll, token choice", *report.nll_token_choice);
  if (report.nll_whole_batch)
    text += fmt::format("{:<24} {:.4f}\n", "nll, whole batch", *report.nll_whole_batch);
  if (report.bits_per_byte)
    text += fmt::format("{:<24} {:.4f}\n", "bits/byte", *report.bits_per_byte);
  if (report.excess_loss)
    text += fmt::format("{:<24} {:.4f}\n", "excess_loss", *report.excess_loss);
  if (report.excess_loss_h0)
    text += fmt::format("{:<24} {:.4f}\n", "excess_loss_h0", *report.excess_loss_h0);
  text += "\nnll by domain\n";
  for (const auto& [domain, nll] : report.nll_by_domain)
    text += fmt::format("  {:<22} {:.4f}\n", domain, nll);
  if (!report.moe.empty()) text += "\nrouting, one column per MoE layer\n";
  for (const auto& [name, values] : report.moe) {
    text += fmt::format("  {:<30}", name);
    for (const double value : values) text += fmt::format(" {:>9.4g}", value);
    text += "\n";
  }
  return text;
}

// A missing figure is a dash.
std::string cell(std::optional<double> value, int width, int digits) {
  if (!value || std::isnan(*value)) return fmt::format(" {:>{}}", "-", width);
  return fmt::format(" {:>{}.{}f}", *value, width, digits);
}

constexpr const char* kSettling[] = {"saturation", "saturation_first", "churn", "churn_first"};

std::string history_row(const EvalReport& report) {
  std::string text = fmt::format("{:>8}", report.step) + cell(report.nll, 8, 4) +
                     cell(report.excess_loss, 12, 4) +
                     cell(layer_mean(report.moe, "max_vio_global"), 15, 3);
  for (const char* name : kSettling)
    text += cell(layer_mean(report.moe, name), static_cast<int>(std::string(name).size()) + 1, 3);
  return text + "\n";
}

std::string history_table(const std::vector<EvalReport>& reports) {
  std::string text =
      fmt::format("checkpoints: {}, each on the same sequences: {}; means over MoE layers\n\n",
                  reports.size(), reports.back().sequences) +
      fmt::format("{:>8} {:>8} {:>12} {:>15}", "step", "nll", "excess_loss", "max_vio_global");
  for (const char* name : kSettling) text += fmt::format("  {}", name);
  text += "\n";
  for (const EvalReport& report : reports) text += history_row(report);
  if (!reports.back().moe.contains(kSettling[0])) return text;
  for (const char* name : {"saturation", "churn"}) {
    text += fmt::format("\n{}, one column per MoE layer\n", name);
    for (const EvalReport& report : reports) {
      text += fmt::format("{:>8}", report.step);
      for (const double value : report.moe.at(name)) text += cell(value, 8, 3);
      text += "\n";
    }
  }
  return text;
}

}  // namespace

std::string eval_table(const EvalResult& result) {
  return result.is_history ? history_table(result.reports) : table_of(result.reports.front());
}

std::string eval_json(const EvalResult& result) {
  if (!result.is_history) return json_line_with_tables(result.reports.front());
  std::string checkpoints;
  for (const EvalReport& report : result.reports) {
    if (!checkpoints.empty()) checkpoints += ",\n";
    std::string line = json_line(report);
    line.pop_back();
    checkpoints += line;
  }
  return "{\"checkpoints\":[" + checkpoints + "]}\n";
}

}  // namespace switchyard
