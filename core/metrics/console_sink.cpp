#include "core/metrics/console_sink.h"

#include <fmt/format.h>
#include <cmath>

#include "core/base/error.h"
#include "core/metrics/summary.h"

namespace switchyard {
namespace {

constexpr int kBarWidth = 30;

/// 812, 69.4k, 1.2M.
std::string rate_text(double value) {
  if (value < 1e3) return fmt::format("{:.0f}", value);
  if (value < 1e6) return fmt::format("{:.1f}k", value / 1e3);
  return fmt::format("{:.1f}M", value / 1e6);
}

std::string memory_text(double bytes) {
  const double mib = bytes / (1 << 20);
  return mib < 1024 ? fmt::format("{:.0f}M", mib) : fmt::format("{:.1f}G", mib / 1024);
}

/// 12s, 4m12s, 1h02m.
std::string time_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto s = static_cast<int64_t>(std::lround(seconds));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
}

/// .012: a figure that is small beside the loss.
std::string aux_text(double value) {
  const std::string text = fmt::format("{:.3f}", value);
  return text.starts_with("0.") ? text.substr(1) : text;
}

std::string balance_text(const StepReport& report) {
  const auto vio = layer_mean(report.moe, "max_vio");
  if (!vio) return "";
  double dead = 0;
  if (const auto found = report.moe.find("dead_experts"); found != report.moe.end()) {
    for (const double value : found->second) dead += value;
  }
  return fmt::format(" | vio {:.2f} floor {:.2f} drop {:.1f}% dead {:.0f}", *vio,
                     layer_mean(report.moe, "max_vio_floor").value_or(NAN),
                     100 * layer_mean(report.moe, "drop_rate").value_or(NAN), dead);
}

int64_t percent(int64_t step, int64_t total) {
  return total > 0 ? 100 * step / total : 100;
}

}  // namespace

std::string console_line(const StepReport& r) {
  const double left = r.step > 0 ? r.wall_s / static_cast<double>(r.step) *
                                       static_cast<double>(r.total_steps - r.step)
                                 : NAN;
  return fmt::format(
      "step {}/{} {}% | loss {:.3f} (nll {:.3f} aux {}) | lr {:.1e} | gnorm {:.2f} | {} tok/s{} | "
      "mem {} | eta {}{}",
      r.step, r.total_steps, percent(r.step, r.total_steps), r.loss, r.nll, aux_text(r.aux_loss),
      r.lr, r.grad_norm, rate_text(r.tokens_per_s), balance_text(r), memory_text(r.memory_bytes),
      time_text(left), r.skipped ? " | update skipped" : "");
}

std::string console_line(const EvalReport& r) {
  std::string text = fmt::format("eval {}/{} | nll {:.4f} ppl {:.2f}", r.step, r.total_steps, r.nll,
                                 std::exp(r.nll));
  if (r.nll_token_choice) text += fmt::format(" (token choice {:.4f})", *r.nll_token_choice);
  if (r.nll_whole_batch) text += fmt::format(" (whole batch {:.4f})", *r.nll_whole_batch);
  if (r.bits_per_byte) text += fmt::format(" bits/byte {:.3f}", *r.bits_per_byte);
  if (r.excess_loss) text += fmt::format(" | excess {:.4f}", *r.excess_loss);
  if (const auto vio = layer_mean(r.moe, "max_vio_global")) {
    text += fmt::format(" | vio {:.2f}", *vio);
  }
  if (const auto mi = layer_mean(r.moe, "domain_mi")) text += fmt::format(" domain_mi {:.2f}", *mi);
  return text + fmt::format(" | {} tokens", rate_text(static_cast<double>(r.tokens)));
}

std::string console_line(const Summary& s) {
  std::string text = fmt::format("done {} steps, {} tokens | train nll {:.4f}", s.steps,
                                 rate_text(static_cast<double>(s.tokens)), s.train_nll);
  if (s.eval) text += fmt::format(" | val nll {:.4f}", s.eval->nll);
  if (s.eval && s.eval->excess_loss) text += fmt::format(" excess {:.4f}", *s.eval->excess_loss);
  return text + fmt::format(" | {} tok/s | mem {:.0f}M | state {}", rate_text(s.tokens_per_s),
                            s.peak_rss_mb, s.state_hash);
}

ConsoleSink::~ConsoleSink() {
  if (!bar_.empty()) out_ << "\r\x1b[K" << std::flush;
}

void ConsoleSink::clear_bar() {
  if (!bar_.empty()) out_ << "\r\x1b[K";
  bar_.clear();
}

void ConsoleSink::line(const std::string& text) {
  const std::string bar = bar_;
  clear_bar();
  out_ << text << '\n' << bar << std::flush;
  bar_ = bar;
  if (!out_) throw IoError("standard output: cannot write");
}

void ConsoleSink::on_step(const StepReport& report) {
  line(console_line(report));
  progress(report.step, report.total_steps);
}

void ConsoleSink::on_eval(const EvalReport& report) {
  line(console_line(report));
}

void ConsoleSink::on_finish(const Summary& summary) {
  clear_bar();
  line(console_line(summary));
}

void ConsoleSink::progress(int64_t step, int64_t total_steps) {
  if (!terminal_) return;
  const auto filled = static_cast<int>(percent(step, total_steps) * kBarWidth / 100);
  clear_bar();
  bar_ = fmt::format("[{}{}] {}/{}", std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                     step, total_steps);
  out_ << bar_ << std::flush;
}

}  // namespace switchyard
