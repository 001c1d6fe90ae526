#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

class Fields;

/// The `optim` block of a config: AdamW (Loshchilov & Hutter 2019) and its schedule.
struct OptimOptions {
  std::string type = "adamw";
  double lr = 3e-3;
  double min_lr = 3e-4;
  std::string schedule = "cosine";  ///< constant | linear | cosine | wsd
  int64_t warmup_steps = 50;
  int64_t decay_steps = 0;  ///< wsd: length of the final decay
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;  ///< applies to parameters of rank ≥ 2
  double clip_norm = 1.0;     ///< global gradient norm; 0 = off
};

void describe(Fields& fields, OptimOptions& options);

/// Throws ConfigError for a combination that no single key can refuse (min_lr > lr ...).
void validate(const OptimOptions& options);

}  // namespace switchyard
