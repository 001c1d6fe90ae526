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

/// The last `count` experts that a router sees compute next to nothing (MoE++, Jin 2024).
struct LightExperts {
  int64_t count = 0;
  double weight =
      1;  ///< τ: in load_balance; an even load gives each 1/τ of a feed-forward expert's

  /// Σ 1/η_e over all `num_experts`, η = τ for the light ones and 1 for the others: a feed-forward
  /// expert's even share of the assignments is 1 / this.
  double even_size(int64_t num_experts) const {
    return static_cast<double>(num_experts - count) + static_cast<double>(count) / weight;
  }
};

/// The `moe` block of a config.
struct MoEOptions {
  LayerPattern layers;
  int64_t num_experts = 16;
  /// Of each MoE layer, where layers differ (PR-MoE's pyramid); empty: num_experts in all.
  std::vector<int64_t> layer_experts;
  int64_t top_k = 2;
  int64_t expert_dim = 128;
  int64_t shared_experts = 0;
  std::optional<int64_t> shared_dim;  ///< auto = expert_dim × shared_experts
  bool shared_gate = false;           ///< shared output × sigmoid(w · x), as in Qwen2-MoE
  bool residual = false;              ///< a dense feed-forward plus top-1, as in PR-MoE
  int64_t zero_experts = 0;           ///< as copy and constant ones, beside num_experts (MoE++)
  int64_t copy_experts = 0;
  int64_t constant_experts = 0;
  double zero_compute_weight = 1;     ///< τ of these three kinds
  std::optional<int64_t> latent_dim;  ///< width that routed experts work in; none = the model's
  RouterOptions router;
  std::vector<BalanceOptions> balance = {{"load_balance", 0.01}, {"z", 0.001}};
  BiasOptions bias;
  CapacityOptions capacity;
  ForceOptions force;
  LightExperts light;  ///< no key: for_router() fills it

  /// Width of the feed-forward that every token goes through beside its experts; 0 = none.
  int64_t shared_width() const;
  /// Experts that a token can be routed to: feed-forward, then zero, copy and constant ones.
  int64_t num_routable() const {
    return num_experts + zero_experts + copy_experts + constant_experts;
  }
  /// Experts that compute a token, on average over tokens: top_k, but all for a soft router.
  int64_t experts_per_token() const;
  /// Whether a refusal, or what follows from it, can depend on later tokens. First choices in order
  /// of position cannot; second ones stand behind all first ones.
  bool capacity_looks_ahead(bool training) const;
  /// As routers, balance terms and biases see a layer: num_experts is num_routable().
  MoEOptions for_router() const;
  /// Those of one MoE layer, counted from 0: num_experts is that layer's, layer_experts empty.
  MoEOptions of_layer(int64_t moe_layer) const;
  /// Every num_experts that occurs.
  std::vector<int64_t> layer_sizes() const;
};

void describe(Fields& fields, MoEOptions& options);

/// Throws ConfigError for a combination that no single key can refuse: top_k > num_experts, K = 1
/// with normalised weights, groups that do not divide the experts, ... The text names the key
/// paths.
void validate(const MoEOptions& options);

}  // namespace switchyard
