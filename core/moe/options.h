#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/moe/options/balance_options.h"
#include "core/moe/options/bias_options.h"
#include "core/moe/options/capacity_options.h"
#include "core/moe/options/force_options.h"
#include "core/moe/options/layer_pattern.h"
#include "core/moe/options/router_options.h"

namespace switchyard {

/// The `moe` block of a config.
struct MoEOptions {
  LayerPattern layers;
  int64_t num_experts = 16;
  int64_t top_k = 2;
  int64_t expert_dim = 128;
  int64_t shared_experts = 0;
  std::optional<int64_t> shared_dim;  ///< auto = expert_dim × shared_experts
  RouterOptions router;
  std::vector<BalanceOptions> balance = {{"load_balance", 0.01}, {"z", 0.001}};
  BiasOptions bias;
  CapacityOptions capacity;
  ForceOptions force;
};

void describe(Fields& fields, MoEOptions& options);

/// Throws ConfigError for a combination that no single key can refuse: top_k > num_experts, K = 1
/// with normalised weights, groups that do not divide the experts, ... The text names the key
/// paths.
void validate(const MoEOptions& options);

}  // namespace switchyard
