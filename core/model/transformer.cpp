#include "core/model/transformer.h"

#include "core/base/error.h"
#include "core/model/moe_output_list.h"
#include "core/nn/init.h"
#include "core/nn/recompute.h"

namespace switchyard {
namespace {

AttentionOptions attention_options(const ModelOptions& model) {
  AttentionOptions options;
  options.hidden_dim = model.hidden_dim;
  options.num_heads = model.num_heads;
  options.num_kv_heads = model.num_kv_heads;
  options.head_dim = model.head_dim;
  options.rope = model.rope();
  options.bias = model.attention_bias;
  options.clip_qkv = model.clip_qkv;
  options.qk_norm = model.qk_norm;
  options.norm_eps = model.norm_eps;
  return options;
}

LatentAttentionOptions latent_options(const ModelOptions& model) {
  LatentAttentionOptions options;
  options.hidden_dim = model.hidden_dim;
  options.num_heads = model.num_heads;
  options.q_lora_rank = model.q_lora_rank;
  options.kv_lora_rank = model.kv_lora_rank;
  options.qk_nope_head_dim = model.qk_nope_head_dim;
  options.qk_rope_head_dim = model.qk_rope_head_dim;
  options.v_head_dim = model.v_head_dim;
  options.rope = model.rope();
  options.norm_eps = model.latent_norm_eps.value_or(model.norm_eps);
  return options;
}

}  // namespace

BlockImpl::BlockImpl(const TransformerOptions& options, int64_t layer, int64_t previous_logits) {
  const ModelOptions& model = options.model;
  attention_norm = register_module("attention_norm", RMSNorm(model.hidden_dim, model.norm_eps));
  if (model.is_latent())
    latent_attention = register_module("attention", LatentAttention(latent_options(model)));
  else
    attention = register_module("attention", Attention(attention_options(model)));
  ffn_norm = register_module("ffn_norm", RMSNorm(model.hidden_dim, model.norm_eps));
  if (!options.moe.layers.contains(layer)) {
    ffn = register_module("ffn", FeedForward(model.hidden_dim, model.ffn_dim));
    return;
  }
  MoELayerOptions moe;
  moe.hidden_dim = model.hidden_dim;
  moe.moe = options.moe.of_layer(options.moe.layers.count_before(layer));
  moe.init = model.weight_init();
  moe.seed = options.seed;
  moe.name = fmt::format("layers.{}", layer);
  if (options.make_dispatcher) moe.dispatcher = options.make_dispatcher(moe.moe.num_experts);
  moe.terms = options.terms;
  moe.resources = options.resources;
  moe.previous_logits = previous_logits;
  moe_layer = register_module("moe", MoELayer(moe));
}

at::Tensor BlockImpl::forward(const at::Tensor& x_BLD, const RoutingContext& context,
                              MoEOutput* moe) {
  const at::Tensor in_BLD = attention_norm->forward(x_BLD);
  const at::Tensor h_BLD =
      x_BLD + (attention ? attention->forward(in_BLD) : latent_attention->forward(in_BLD));
  const at::Tensor normed_BLD = ffn_norm->forward(h_BLD);
  if (ffn) return h_BLD + ffn->forward(normed_BLD);
  *moe = moe_layer->forward(normed_BLD.reshape({-1, normed_BLD.size(-1)}), context);
  const at::Tensor y_BLD = moe->y_TD.reshape(h_BLD.sizes());
  moe->y_TD = at::Tensor();
  return h_BLD + y_BLD;
}

TransformerImpl::TransformerImpl(TransformerOptions options) : options_(std::move(options)) {
  const ModelOptions& model = options_.model;
  SWITCHYARD_CHECK(model.vocab_size.has_value(), "model.vocab_size is not resolved");
  embedding_VD_ =
      register_parameter("embedding", torch::zeros({*model.vocab_size, model.hidden_dim}));
  torch::nn::ModuleList layers = register_module("layers", torch::nn::ModuleList());
  int64_t previous_logits = 0;
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    Block block(options_, layer, previous_logits);
    layers->push_back(block);
    blocks_.push_back(block);
    if (!block->moe_layer) continue;
    moe_layers_.push_back(block->moe_layer);
    const at::Tensor& router_ED = block->moe_layer->router_ED;
    previous_logits = router_ED.defined() ? router_ED.size(0) : 0;
  }
  norm_ = register_module("norm", RMSNorm(model.hidden_dim, model.norm_eps));
  if (!model.tie_embeddings)
    head_VD_ = register_parameter("head", torch::zeros({*model.vocab_size, model.hidden_dim}));

  torch::NoGradGuard no_grad;
  for (auto& item : named_parameters()) {
    const bool moe_fills_it = item.key().find(".moe.") != std::string::npos;
    if (item.value().dim() >= 2 && !moe_fills_it)
      init_weight(item.value(), options_.seed, global_name(item.key()), model.weight_init());
  }
}

at::Tensor TransformerImpl::head_VD() const {
  return options_.model.tie_embeddings ? embedding_VD_ : head_VD_;
}

at::Tensor TransformerImpl::run_block(Block& block, const at::Tensor& x_BLD,
                                      const RoutingContext& context,
                                      std::vector<MoEOutput>& layers) {
  const bool is_moe = !block->moe_layer.is_empty();
  if (!options_.recompute || !at::GradMode::is_enabled()) {
    MoEOutput moe;
    const at::Tensor y_BLD = block->forward(x_BLD, context, &moe);
    if (is_moe) layers.push_back(std::move(moe));
    return y_BLD;
  }
  // The function is kept for backward: what it needs of the layer before is an input, not captured.
  RoutingContext captured = context;
  captured.previous_logits_TE = at::Tensor();
  const auto run = [block, captured, is_moe](const std::vector<at::Tensor>& inputs) mutable {
    RoutingContext here = captured;
    if (inputs.size() > 1) here.previous_logits_TE = inputs[1];
    MoEOutput moe;
    std::vector<at::Tensor> outputs{block->forward(inputs[0], here, &moe)};
    if (is_moe) append_to_list(moe, outputs);
    return outputs;
  };
  std::vector<at::Tensor> inputs{x_BLD};
  if (context.previous_logits_TE.defined()) inputs.push_back(context.previous_logits_TE);
  const std::vector<at::Tensor> outputs = recompute(run, inputs);
  if (is_moe) layers.push_back(from_list(outputs, 1, options_.terms.size()));
  return outputs[0];
}

ModelOutput TransformerImpl::forward(const at::Tensor& tokens_BL, RoutingContext context) {
  ModelOutput output;
  context.token_ids_T = tokens_BL.reshape({-1});
  context.sequence_length = tokens_BL.size(1);
  at::Tensor x_BLD = at::embedding(embedding_VD_, tokens_BL).to(options_.compute_dtype);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    context.layer = static_cast<int64_t>(layer);
    x_BLD = run_block(blocks_[layer], x_BLD, context, output.layers);
    if (options_.moe.router.gating_residual && !output.layers.empty())
      context.previous_logits_TE = output.layers.back().decision.logits_TE;
  }
  output.hidden_TD = norm_->forward(x_BLD).reshape({-1, x_BLD.size(-1)});
  return output;
}

std::string global_name(const std::string& module_path) {
  const std::string inner = ".moe.";
  const size_t at = module_path.find(inner);
  if (at == std::string::npos) return module_path;
  return module_path.substr(0, at + 1) + module_path.substr(at + inner.size());
}

}  // namespace switchyard
