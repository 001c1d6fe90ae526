#include "core/model/options.h"

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/config/fields.h"

namespace switchyard {
namespace {

const std::vector<std::string> kGrouped = {"gqa"}, kLatent = {"mla"};

void describe_attention(Fields& fields, ModelOptions& options) {
  fields
      .choice("attention", options.attention, {"gqa", "mla"},
              "Heads that share keys and values in groups, or keys and values from a narrow latent "
              "(DeepSeek-V2).")
      .also_called({"attention_type", "attn_type", "multi_latent_attention", "use_mla"})
      .also_spelled({{"mha", "gqa"}, {"mqa", "gqa"}, {"latent", "mla"}});
  fields
      .flag("attention_bias", options.attention_bias, "Biases of queries, keys and values (Qwen2).")
      .only_for(kGrouped, "attention")
      .also_called({"qkv_bias", "add_qkv_bias", "use_qkv_bias"});
  fields
      .number_or("clip_qkv", options.clip_qkv, "none",
                 "Bound on the size of queries, keys and values (OLMoE).")
      .more_than(0)
      .only_for(kGrouped, "attention")
      .also_called({"qkv_clip", "clip_kqv"});
  fields
      .integer_or("q_lora_rank", options.q_lora_rank, "none",
                  "Width of the queries' latent; none = queries straight from the hidden state.")
      .at_least(1)
      .at_most(kMaxWidth)
      .only_for(kLatent, "attention");
  fields.integer("kv_lora_rank", options.kv_lora_rank, "Width of the latent of keys and values.")
      .at_least(1)
      .at_most(kMaxWidth)
      .only_for(kLatent, "attention");
  fields
      .integer("qk_nope_head_dim", options.qk_nope_head_dim,
               "Part of each head's query and key without position.")
      .at_least(1)
      .at_most(kMaxWidth)
      .only_for(kLatent, "attention");
  fields
      .integer("qk_rope_head_dim", options.qk_rope_head_dim,
               "Part of each head's query and key that rotary positions turn; even.")
      .at_least(2)
      .at_most(kMaxWidth)
      .only_for(kLatent, "attention");
  fields.integer("v_head_dim", options.v_head_dim, "Width of each head's value.")
      .at_least(1)
      .at_most(kMaxWidth)
      .only_for(kLatent, "attention");
  fields
      .number_or("latent_norm_eps", options.latent_norm_eps, "auto",
                 "ε of the RMS norms of the latents; auto = norm_eps.")
      .more_than(0)
      .only_for(kLatent, "attention");
}

void check_even(const char* key, int64_t width) {
  if (width % 2 != 0)
    throw ConfigError(fmt::format(
        "model.{}: {} is odd; rotary embeddings turn pairs; allowed: an even integer", key, width));
}

}  // namespace

void describe(Fields& fields, ModelOptions& options) {
  fields.integer("num_layers", options.num_layers, "Decoder layers.")
      .at_least(1)
      .at_most(kMaxLayers)
      .also_called({"n_layer", "n_layers", "num_hidden_layers", "depth", "layers"});
  fields.integer("hidden_dim", options.hidden_dim, "Width of the residual stream.")
      .at_least(1)
      .at_most(kMaxWidth)
      .also_called({"hidden_size", "n_embd", "d_model", "dim", "embed_dim", "embedding_size",
                    "model_dim", "width"});
  fields.integer("num_heads", options.num_heads, "Query heads.")
      .at_least(1)
      .at_most(kMaxHeads)
      .also_called({"n_head", "n_heads", "num_attention_heads", "nheads"});
  fields.integer("num_kv_heads", options.num_kv_heads, "Key and value heads; divides num_heads.")
      .at_least(1)
      .at_most(kMaxHeads)
      .only_for(kGrouped, "attention")
      .also_called({"num_key_value_heads", "n_kv_heads", "n_kv_head", "num_query_groups"});
  fields.integer("head_dim", options.head_dim, "Width of each head; even.")
      .at_least(2)
      .at_most(kMaxWidth)
      .only_for(kGrouped, "attention")
      .also_called({"kv_channels", "head_size", "d_head", "dim_head"});
  fields
      .integer("ffn_dim", options.ffn_dim,
               "Width of the feed-forward part of layers without experts.")
      .at_least(1)
      .at_most(kMaxWidth)
      .also_called({"intermediate_size", "ffn_hidden_size", "d_ff", "inter_dim", "mlp_dim",
                    "n_inner", "ffn_hidden_dim"});
  fields
      .integer_or("vocab_size", options.vocab_size, "auto",
                  "Tokens of the vocabulary; auto = the data's.")
      .at_least(1)
      .at_most(kMaxVocabulary)
      .also_called({"padded_vocab_size", "n_vocab", "vocabulary_size"});
  fields.integer("max_seq_len", options.max_seq_len, "Longest sequence.")
      .at_least(1)
      .at_most(kMaxPositions)
      .also_called({"max_position_embeddings", "block_size", "n_positions", "n_ctx",
                    "context_length", "max_sequence_length"});
  fields.number("rope_theta", options.rope_theta, "Base of the rotary position embedding.")
      .more_than(0)
      .also_called({"rotary_base", "rope_base", "rotary_emb_base"});
  fields
      .flag("rope_interleaved", options.rope_interleaved,
            "Rotary positions turn neighbours (2i, 2i + 1) instead of the halves' (i, i + C/2).")
      .also_called({"rope_interleave", "rotary_interleaved"});
  fields.block("rope_scaling", options.rope_scaling,
               "Rotary positions beyond the length that a model was trained on.");
  fields.number("norm_eps", options.norm_eps, "ε of the RMS norms.")
      .more_than(0)
      .also_called({"rms_norm_eps", "layer_norm_eps", "layernorm_epsilon", "layer_norm_epsilon"});
  fields.flag("tie_embeddings", options.tie_embeddings, "Use the embedding as the output head too.")
      .also_called({"tie_word_embeddings", "weight_tying", "untie_embeddings_and_output_weights"});
  fields
      .choice("qk_norm", options.qk_norm, {"none", "head", "full"},
              "RMS norm of queries and keys: none, one for each head, or one over all heads.")
      .only_for(kGrouped, "attention")
      .also_called({"qk_layernorm", "use_qk_norm"})
      .also_spelled({{"true", "head"}, {"false", "none"}});
  describe_attention(fields, options);
  fields
      .choice("init", options.init, {"normal", "fan_in"},
              "The first weights: of one deviation, or of √(0.1/columns) for each matrix, "
              "truncated at two deviations (Switch).")
      .also_called({"init_method", "weight_init"});
  fields.number("init_std", options.init_std, "Standard deviation of the first weights.")
      .at_least(0)
      .only_for({"normal"}, "init")
      .also_called({"initializer_range", "init_method_std"});
}

void validate(const ModelOptions& options) {
  validate(options.rope());
  if (options.is_latent()) return check_even("qk_rope_head_dim", options.qk_rope_head_dim);
  if (options.num_heads % options.num_kv_heads != 0)
    throw ConfigError(fmt::format("model.num_heads: {} is not a multiple of model.num_kv_heads: {}",
                                  options.num_heads, options.num_kv_heads));
  check_even("head_dim", options.head_dim);
}

}  // namespace switchyard
