#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/metrics/report.h"

namespace switchyard {

/// Mean over MoE layers of a per-layer metric; nothing where the report has none of that name.
std::optional<double> layer_mean(const std::map<std::string, std::vector<double>>& moe,
                                 const std::string& name);

/// The text of summary.json: steps tokens train_nll val_nll excess_loss max_vio_global domain_mi
/// drop_rate params_total params_active flops_per_token tokens_per_s peak_rss_mb ranks state_hash,
/// then val_nll_token_choice or val_nll_whole_batch where there is a second way to evaluate, and
/// bits_per_byte of byte-level text. What a run does not have is null.
std::string summary_json(const Summary& summary);

/// Writes summary.json in one step; throws IoError.
void write_summary(const std::string& path, const Summary& summary);

}  // namespace switchyard
