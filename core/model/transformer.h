#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/model/options.h"
#include "core/moe/moe_layer.h"
#include "core/nn/attention.h"
#include "core/nn/feed_forward.h"
#include "core/nn/latent_attention.h"
#include "core/nn/rms_norm.h"

namespace switchyard {

// Shape suffixes: B sequences of this rank, L sequence length, T = B · L tokens, D model width, V
// vocabulary.

/// A model and the outside parts it is built with.
struct TransformerOptions {
  ModelOptions model;  ///< vocab_size must be set
  MoEOptions moe;
  uint64_t seed = 1;
  bool recompute = false;  ///< forget each block's activations, run it again in backward
  at::ScalarType compute_dtype = at::kFloat;  ///< of activations; weights keep theirs
  /// Called once per MoE layer, in layer order; unset: all experts in this process.
  std::function<std::shared_ptr<TokenDispatcher>(int64_t num_experts)> make_dispatcher;
  BalanceTerms terms;
  RouterResources resources;  ///< for hash routers
};

/// Pre-norm decoder block: x + attention(norm(x)), then + feed-forward or MoE of its norm.
class BlockImpl : public torch::nn::Module {
 public:
  /// previous_logits: columns of the router logits of the MoE layer before; 0 = none.
  BlockImpl(const TransformerOptions& options, int64_t layer, int64_t previous_logits);
  /// Hidden states [B, L, D] in, the same out; `moe` is filled by MoE layers.
  at::Tensor forward(const at::Tensor& x_BLD, const RoutingContext& context, MoEOutput* moe);

  RMSNorm attention_norm{nullptr}, ffn_norm{nullptr};
  Attention attention{nullptr};
  LatentAttention latent_attention{nullptr};  ///< in its place with model.attention: mla
  FeedForward ffn{nullptr};
  MoELayer moe_layer{nullptr};
};
TORCH_MODULE(Block);

/// What a forward pass returns.
struct ModelOutput {
  at::Tensor hidden_TD;           ///< after the final norm
  std::vector<MoEOutput> layers;  ///< one per MoE layer; y_TD is not kept
};

/// Decoder-only transformer with dense and MoE layers.
class TransformerImpl : public torch::nn::Module {
 public:
  explicit TransformerImpl(TransformerOptions options);

  /// Collective over the dispatchers' group and context.communicator; so is its backward.
  /// context.layer and token_ids_T are filled in here.
  ModelOutput forward(const at::Tensor& tokens_BL, RoutingContext context);

  /// The output matrix [V, D]: the embedding when tied.
  at::Tensor head_VD() const;
  /// The MoE layers, in the order of the decoder.
  const std::vector<MoELayer>& moe_layers() const { return moe_layers_; }
  const TransformerOptions& options() const { return options_; }

 private:
  at::Tensor run_block(Block& block, const at::Tensor& x_BLD, const RoutingContext& context,
                       std::vector<MoEOutput>& layers);

  TransformerOptions options_;
  at::Tensor embedding_VD_, head_VD_;
  std::vector<Block> blocks_;
  std::vector<MoELayer> moe_layers_;
  RMSNorm norm_{nullptr};
};
TORCH_MODULE(Transformer);

/// The global name of a parameter or buffer from its module path: "layers.3.moe.router" is
/// "layers.3.router".
std::string global_name(const std::string& module_path);

}  // namespace switchyard
