#include "core/metrics/summary.h"

#include "core/metrics/file_output.h"
#include "core/metrics/json_writer.h"

namespace switchyard {

std::optional<double> layer_mean(const std::map<std::string, std::vector<double>>& moe,
                                 const std::string& name) {
  const auto found = moe.find(name);
  if (found == moe.end() || found->second.empty()) return std::nullopt;
  double sum = 0;
  for (const double value : found->second) sum += value;
  return sum / static_cast<double>(found->second.size());
}

std::string summary_json(const Summary& s) {
  const EvalReport none;
  const EvalReport& eval = s.eval ? *s.eval : none;
  JsonObject object;
  object.add("steps", s.steps).add("tokens", s.tokens).add("train_nll", s.train_nll);
  object.add("val_nll", s.eval ? std::optional(eval.nll) : std::nullopt);
  object.add("excess_loss", eval.excess_loss);
  if (eval.excess_loss_h0) object.add("excess_loss_h0", eval.excess_loss_h0);
  object.add("max_vio_global", layer_mean(eval.moe, "max_vio_global"));
  object.add("domain_mi", layer_mean(eval.moe, "domain_mi"));
  object.add("drop_rate", s.drop_rate);
  object.add("params_total", s.params_total).add("params_active", s.params_active);
  object.add("flops_per_token", s.flops_per_token).add("tokens_per_s", s.tokens_per_s);
  object.add("peak_rss_mb", s.peak_rss_mb).add("ranks", s.ranks);
  object.add("state_hash", s.state_hash);
  if (eval.nll_token_choice) object.add("val_nll_token_choice", eval.nll_token_choice);
  if (eval.nll_whole_batch) object.add("val_nll_whole_batch", eval.nll_whole_batch);
  if (eval.bits_per_byte) object.add("bits_per_byte", eval.bits_per_byte);
  return object.text() + "\n";
}

void write_summary(const std::string& path, const Summary& summary) {
  write_atomically(path, summary_json(summary));
}

}  // namespace switchyard
