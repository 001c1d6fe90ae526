#include "core/moe/layers.h"

#include <cmath>

namespace switchyard {
namespace {

MoELayerOptions checked(int64_t hidden_dim, uint64_t seed, MoEOptions moe) {
  validate(moe);
  MoELayerOptions options;
  options.hidden_dim = hidden_dim;
  options.seed = seed;
  options.moe = std::move(moe);
  return options;
}

MoELayerOptions expand(const SwitchMoEOptions& o) {
  MoEOptions moe;
  moe.num_experts = o.num_experts;
  moe.top_k = 1;
  moe.expert_dim = o.expert_dim;
  moe.router.type = "switch";
  moe.router.jitter = o.jitter;
  moe.router.init = std::sqrt(0.1 / static_cast<double>(o.hidden_dim));
  moe.capacity.factor = o.capacity_factor;
  return checked(o.hidden_dim, o.seed, moe);
}

MoELayerOptions expand(const GShardMoEOptions& o) {
  MoEOptions moe;
  moe.num_experts = o.num_experts;
  moe.top_k = 2;
  moe.expert_dim = o.expert_dim;
  moe.router.type = "gshard";
  moe.capacity.factor = o.capacity_factor;
  return checked(o.hidden_dim, o.seed, moe);
}

MoELayerOptions expand(const DeepSeekMoEOptions& o) {
  MoEOptions moe;
  moe.num_experts = o.num_experts;
  moe.top_k = o.top_k;
  moe.expert_dim = o.expert_dim;
  moe.shared_experts = o.shared_experts;
  moe.router.type = o.bias_rate > 0 ? "deepseek_v3" : "deepseek_moe";
  moe.router.groups = o.groups;
  moe.router.kept_groups = o.kept_groups;
  moe.router.scale = o.scale;
  if (o.bias_rate > 0) {
    moe.bias.type = "sign";
    moe.bias.rate = o.bias_rate;
  }
  return checked(o.hidden_dim, o.seed, moe);
}

}  // namespace

SwitchMoEImpl::SwitchMoEImpl(const SwitchMoEOptions& options) : MoELayerImpl(expand(options)) {}
GShardMoEImpl::GShardMoEImpl(const GShardMoEOptions& options) : MoELayerImpl(expand(options)) {}
DeepSeekMoEImpl::DeepSeekMoEImpl(const DeepSeekMoEOptions& options)
    : MoELayerImpl(expand(options)) {}

}  // namespace switchyard
