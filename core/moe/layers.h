#pragma once

#include <optional>

#include "core/moe/moe_layer.h"

namespace switchyard {

/// Switch Transformer layer (Fedus 2022): top-1, capacity factor, jitter on the router's input.
struct SwitchMoEOptions {
  int64_t hidden_dim = 128;
  int64_t expert_dim = 512;
  int64_t num_experts = 8;
  std::optional<double> capacity_factor = 1.25;  ///< nullopt = dropless
  double jitter = 1e-2;
  uint64_t seed = 1;
};

/// GShard layer (Lepikhin 2021): top-2 with a random second expert, capacity factor.
struct GShardMoEOptions {
  int64_t hidden_dim = 128;
  int64_t expert_dim = 512;
  int64_t num_experts = 8;
  std::optional<double> capacity_factor = 2.0;
  uint64_t seed = 1;
};

/// DeepSeekMoE layer: fine-grained experts beside always-on shared ones (Dai 2024); with
/// `bias_rate` above 0 sigmoid scores, groups and the loss-free bias of DeepSeek-V3 (2024).
struct DeepSeekMoEOptions {
  int64_t hidden_dim = 128;
  int64_t expert_dim = 64;
  int64_t num_experts = 16;
  int64_t top_k = 4;
  int64_t shared_experts = 1;
  double bias_rate = 0.0;  ///< > 0: call update_router_bias({counts}) after each step
  int64_t groups = 1;      ///< only with bias_rate > 0
  int64_t kept_groups = 1;
  double scale = 1.0;
  uint64_t seed = 1;
};

class SwitchMoEImpl : public MoELayerImpl {
 public:
  explicit SwitchMoEImpl(const SwitchMoEOptions& options);
};
TORCH_MODULE(SwitchMoE);

class GShardMoEImpl : public MoELayerImpl {
 public:
  explicit GShardMoEImpl(const GShardMoEOptions& options);
};
TORCH_MODULE(GShardMoE);

class DeepSeekMoEImpl : public MoELayerImpl {
 public:
  explicit DeepSeekMoEImpl(const DeepSeekMoEOptions& options);
};
TORCH_MODULE(DeepSeekMoE);

}  // namespace switchyard
