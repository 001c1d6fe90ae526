#include "core/moe/moe_layer.h"

#include <cmath>

#include "core/kernels/linear_map.h"
#include "core/moe/capacity.h"
#include "core/moe/routers/forced_router.h"
#include "core/moe/routers/random.h"
#include "core/moe/routing_trace.h"
#include "core/nn/init.h"

namespace switchyard {

MoELayerImpl::MoELayerImpl(MoELayerOptions options)
    : options_(std::move(options)),
      router_(make_router(options_.moe.for_router(), options_.resources)),
      dispatcher_(options_.dispatcher ? options_.dispatcher
                                      : make_local_dispatcher(options_.moe.num_experts)) {
  const MoEOptions& moe = options_.moe;
  const int64_t D = options_.hidden_dim;
  if (const int64_t rows = router_->logit_columns(moe.num_routable()); rows > 0)
    router_ED = register_parameter("router", torch::zeros({rows, D}));
  if (const int64_t rows = router_->noise_columns(moe.num_routable()); rows > 0)
    router_noise_ED = register_parameter("router_noise", torch::zeros({rows, D}));
  if (moe.router.gating_residual && options_.previous_logits > 0)
    router_residual_EE = register_parameter(
        "router_residual", torch::zeros({router_ED.size(0), options_.previous_logits}));
  bias_ = make_bias_state(moe.bias, moe.num_routable());
  const std::pair<const char*, at::Tensor*> buffers[] = {
      {"router_bias", &bias_.bias_E},
      {"router_bias_average", &bias_.average_E},
      {"router_bias_integral", &bias_.integral_E},
      {"router_bias_error", &bias_.error_E}};
  for (const auto& [name, tensor] : buffers)
    if (tensor->defined()) *tensor = register_buffer(name, *tensor);
  router_bias_E = bias_.bias_E;
  experts = register_module("experts", ExpertBank(moe.latent_dim.value_or(D), moe.expert_dim,
                                                  dispatcher_->local_experts()));
  if (moe.latent_dim) {
    latent_down_LD = register_parameter("latent_down", torch::zeros({*moe.latent_dim, D}));
    latent_up_DL = register_parameter("latent_up", torch::zeros({D, *moe.latent_dim}));
  }
  const ZeroComputeCounts counts{moe.zero_experts, moe.copy_experts, moe.constant_experts};
  if (counts.sum() > 0)
    zero_compute = register_module("zero_compute", ZeroComputeExperts(D, moe.num_experts, counts));
  if (const int64_t width = moe.shared_width(); width > 0)
    shared = register_module("shared", SharedExperts(D, width, moe.shared_gate));
  initialize();
}

void MoELayerImpl::initialize() {
  torch::NoGradGuard no_grad;
  const std::string& name = options_.name;
  const bool noisy = router_noise_ED.defined();
  WeightInit of_router = noisy ? WeightInit{.std = 0} : options_.init;
  if (options_.moe.router.init) of_router = {.std = *options_.moe.router.init};
  of_router.truncated = options_.moe.router.type == "switch";
  const auto init_router = [&](const at::Tensor& weight, const std::string& of) {
    init_weight(weight, options_.seed, name + of, of_router);
  };
  if (router_ED.defined()) init_router(router_ED, ".router");
  if (router_noise_ED.defined()) init_router(router_noise_ED, ".router_noise");
  if (router_residual_EE.defined()) init_router(router_residual_EE, ".router_residual");
  experts->initialize(options_.seed, name + ".experts", options_.init);
  if (shared) shared->initialize(options_.seed, name + ".shared", options_.init);
  if (zero_compute) zero_compute->initialize(options_.seed, name + ".zero_compute", options_.init);
  if (latent_down_LD.defined()) {
    init_weight(latent_down_LD, options_.seed, name + ".latent_down", options_.init);
    init_weight(latent_up_DL, options_.seed, name + ".latent_up", options_.init);
  }
}

RouterInputs MoELayerImpl::router_inputs(const at::Tensor& x_TD,
                                         const RoutingContext& context) const {
  RouterInputs inputs;
  inputs.dtype = x_TD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (!router_ED.defined()) return inputs;
  at::Tensor input_TD = x_TD.to(router_ED.dtype());
  const double jitter = options_.moe.router.jitter;
  if (context.training && jitter > 0) {
    const at::Tensor u_TD =
        draw(context, RandomStream::kJitter, x_TD.size(0), x_TD.size(1), input_TD.options());
    input_TD = input_TD * (u_TD * (2 * jitter) + (1 - jitter));
  }
  inputs.logits_TE = at::mm(input_TD, router_ED.t());
  if (router_residual_EE.defined())
    inputs.logits_TE =
        inputs.logits_TE + at::mm(context.previous_logits_TE, router_residual_EE.t());
  if (router_noise_ED.defined() && context.training)
    inputs.noise_logits_TE = at::mm(input_TD, router_noise_ED.t());
  return inputs;
}

void MoELayerImpl::follow_trace(const RoutingContext& context, RoutingDecision& decision) const {
  const at::Tensor ids_TK = context.trace->replayed(context, decision.expert_ids_TK.size(0));
  if (ids_TK.defined()) redirect(*router_, ids_TK.to(decision.expert_ids_TK.device()), decision);
  context.trace->record(context, decision.expert_ids_TK);
}

at::Tensor MoELayerImpl::forward(const at::Tensor& x_TD) {
  RoutingContext context;
  context.training = is_training();
  return forward(x_TD, context).y_TD;
}

void MoELayerImpl::seat(RoutingDecision& decision, const RoutingContext& context) const {
  const MoEOptions seen = options_.moe.for_router();
  if (!zero_compute) return apply_capacity(seen.capacity, seen, context, decision, router_.get());
  // Experts that compute nothing have room for every token.
  RoutingDecision limited = only_below(decision, options_.moe.num_experts);
  apply_capacity(seen.capacity, seen, context, limited, router_.get());
  decision.selected_TK = decision.expert_ids_TK;
  decision.slot_TK = limited.slot_TK;
  decision.kept_TK =
      limited.kept_TK.logical_or(decision.expert_ids_TK.ge(options_.moe.num_experts));
}

MoEOutput MoELayerImpl::forward(const at::Tensor& x_TD, const RoutingContext& context) {
  MoEOutput output;
  RoutingDecision& decision = output.decision;
  decision = router_->decide(router_inputs(x_TD, context), router_bias_E, context);
  if (context.trace) follow_trace(context, decision);
  for (const auto& term : options_.terms)
    output.terms.push_back(term->sequence_sums(decision, context));
  if (options_.moe.bias.type == "quantile" && context.training)
    output.margins_TE = quantile_margins(decision.scores_TE, router_bias_E, options_.moe.top_k);
  seat(decision, context);
  if (options_.moe.router.scale != 1.0)
    decision.weights_TK = decision.weights_TK * options_.moe.router.scale;

  const bool is_latent = latent_down_LD.defined();
  auto handle = dispatcher_->dispatch(
      is_latent ? linear_map(x_TD, latent_down_LD) : x_TD,
      zero_compute ? only_below(decision, options_.moe.num_experts) : decision);
  const at::Tensor shared_TD = shared ? shared->forward(x_TD) : at::Tensor();
  const Dispatched dispatched = handle->received();
  const at::Tensor y_UD = experts->forward(dispatched);
  output.work = experts->work(dispatched, options_.moe.num_routable(), context.measure_outputs);
  output.y_TD = handle->combine(y_UD);
  if (is_latent) output.y_TD = linear_map(output.y_TD, latent_up_DL);
  if (shared) output.y_TD = output.y_TD + shared_TD;
  if (zero_compute) output.y_TD = output.y_TD + zero_compute->forward(x_TD, decision);
  return output;
}

void MoELayerImpl::update_router_bias(BiasStep step) {
  step.top_k = options_.moe.top_k;
  update_bias(options_.moe.bias, step, bias_);
}

}  // namespace switchyard
