#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "core/moe/balance_term.h"
#include "core/moe/bias.h"
#include "core/moe/expert_bank.h"
#include "core/moe/options.h"
#include "core/moe/records.h"
#include "core/moe/routers/router.h"
#include "core/moe/shared_experts.h"
#include "core/moe/token_dispatcher.h"
#include "core/moe/zero_compute_experts.h"

namespace switchyard {

/// What an MoE layer is made of. `dispatcher` and `terms` come from outside; without them the layer
/// lives in one process and returns no balance terms.
struct MoELayerOptions {
  int64_t hidden_dim = 0;
  MoEOptions moe;  ///< one layer's: layer_experts is empty
  WeightInit init;
  uint64_t seed = 1;
  std::string name = "moe";  ///< prefix of its parameters' global names
  std::shared_ptr<TokenDispatcher> dispatcher;
  BalanceTerms terms;
  RouterResources resources;  ///< for hash routers
  /// Columns of the router logits that forward() gets from the MoE layer before; 0 = no such layer.
  int64_t previous_logits = 0;
};

/// router → capacity → dispatch → experts → combine, with shared experts running while the tokens
/// travel. With `moe.latent_dim` tokens travel and experts work in a width L of their own
/// (LatentMoE, Nemotron 3 2025), the router and everything else in the model's. E counts zero, copy
/// and constant experts too. Parameters: `router` [E, D] (at least fp32; [a + E, D] hierarchical,
/// none for hash),
/// `router_noise` [E, D] for noisy_top_k, `router_residual` [E, E of the MoE layer before] with
/// `moe.router.gating_residual` where there is one (MoE++, Jin 2024, equation 6),
/// `experts.gate_up`, `experts.down`, `shared.gate_up`, `shared.down`, `shared.gate` with
/// `moe.shared_gate`, `latent_down` [L, D], `latent_up` [D, L], `zero_compute.mix`,
/// `zero_compute.value`; buffer `router_bias` [E] when `moe.bias` is used, with
/// `router_bias_average`, `router_bias_integral`, `router_bias_error` where its rule has them.
class MoELayerImpl : public torch::nn::Module {
 public:
  explicit MoELayerImpl(MoELayerOptions options);

  /// One process, outside a trainer: in training mode capacity `factor` and random choices apply,
  /// in eval mode neither. All tokens count as one sequence.
  at::Tensor forward(const at::Tensor& x_TD);
  /// Collective over the dispatcher's group and over context.communicator; so is its backward.
  MoEOutput forward(const at::Tensor& x_TD, const RoutingContext& context);

  /// After an applied optimizer step: moves the selection bias by update_bias(). `step.top_k` is
  /// filled in here; the counts are enough for every rule but quantile.
  void update_router_bias(BiasStep step);

  /// Refills all parameters; constructors call it.
  void initialize();

  const MoELayerOptions& options() const { return options_; }
  /// The hash router's table [V, K], live and part of the saved state; undefined otherwise.
  at::Tensor router_table() const { return router_->table(); }
  /// Global numbers of the experts held here, in slot order.
  const std::vector<int64_t>& local_experts() const { return experts->experts(); }

  at::Tensor router_ED, router_noise_ED;
  at::Tensor
      router_residual_EE;    ///< undefined without `gating_residual`, or in the first MoE layer
  at::Tensor router_bias_E;  ///< undefined without a rule
  ExpertBank experts{nullptr};
  SharedExperts shared{nullptr};
  ZeroComputeExperts zero_compute{nullptr};
  at::Tensor latent_down_LD, latent_up_DL;  ///< undefined without `moe.latent_dim`

 private:
  RouterInputs router_inputs(const at::Tensor& x_TD, const RoutingContext& context) const;
  void follow_trace(const RoutingContext& context, RoutingDecision& decision) const;

  void seat(RoutingDecision& decision, const RoutingContext& context) const;

  MoELayerOptions options_;
  BiasState bias_;
  std::unique_ptr<Router> router_;
  std::shared_ptr<TokenDispatcher> dispatcher_;
};
TORCH_MODULE(MoELayer);

}  // namespace switchyard
