#include "trainers/import/hf_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "core/base/error.h"
#include "core/checkpoint/strict_json.h"
#include "trainers/import/hf_json.h"

namespace switchyard {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr int kMaxDepth = 16;

/// Describes the tokenizer, generation, training or the library, not what the model computes.
const std::vector<std::string> kNeutral = {"architectures",
                                           "auto_map",
                                           "aux_loss_alpha",
                                           "bos_token_id",
                                           "chunk_size_feed_forward",
                                           "dtype",
                                           "eos_token_id",
                                           "ep_size",
                                           "id2label",
                                           "is_encoder_decoder",
                                           "label2id",
                                           "max_window_layers",
                                           "model_type",
                                           "_name_or_path",
                                           "output_attentions",
                                           "output_hidden_states",
                                           "output_router_logits",
                                           "pad_token_id",
                                           "pretraining_tp",
                                           "return_dict",
                                           "router_aux_loss_coef",
                                           "seq_aux",
                                           "torch_dtype",
                                           "transformers_version",
                                           "use_cache"};

void read_rope(const HfKeys& keys, ModelOptions& model, double default_theta) {
  model.rope_theta = keys.positive_or("rope_theta", default_theta);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (!keys.has(name)) continue;
    const HfKeys rope = keys.object(name);
    for (const char* type : {"type", "rope_type"}) rope.only(type, {"default"});
    model.rope_theta = rope.positive_or("rope_theta", model.rope_theta);
    rope.only("partial_rotary_factor", {1.0});
    if (!rope.unread().empty())
      rope.fail(rope.unread().front().substr(std::string(name).size() + 1), "is not supported");
  }
}

void check_common(const HfKeys& keys) {
  keys.only("hidden_act", {"silu", "swish"});
  keys.only("attention_dropout", {0.0});
  keys.only("quantization_config", {});
  keys.only("partial_rotary_factor", {1.0});
  keys.only("use_sliding_window", {false});
  keys.only("mlp_bias", {false});
  keys.only("logit_scale", {1.0});
  keys.only("router_jitter_noise", {0.0});
  for (const auto& type : keys.texts("layer_types"))
    if (type != "full_attention")
      keys.fail("layer_types", type + " is not supported; allowed: full_attention");
}

void read_common(const HfKeys& keys, ModelOptions& model, double default_eps,
                 double default_theta) {
  check_common(keys);
  keys.ignore(kNeutral);
  model.num_layers = keys.integer("num_hidden_layers");
  model.hidden_dim = keys.integer("hidden_size");
  model.num_heads = keys.integer("num_attention_heads");
  model.num_kv_heads = keys.integer_or("num_key_value_heads", model.num_heads);
  model.ffn_dim = keys.integer("intermediate_size");
  model.vocab_size = keys.integer("vocab_size");
  model.max_seq_len = keys.integer("max_position_embeddings");
  model.norm_eps = keys.positive_or("rms_norm_eps", default_eps);
  model.init_std = keys.positive_or("initializer_range", 0.02);
  model.tie_embeddings = keys.flag_or("tie_word_embeddings", false);
  read_rope(keys, model, default_theta);
}

void read_heads(const HfKeys& keys, ModelOptions& model) {
  if (!keys.has("head_dim") && model.hidden_dim % model.num_heads != 0)
    keys.fail("num_attention_heads",
              fmt::format("{} does not divide hidden_size {}", model.num_heads, model.hidden_dim));
  model.head_dim = keys.integer_or("head_dim", model.hidden_dim / model.num_heads);
}

/// A window no shorter than the longest sequence hides nothing.
void check_window(const HfKeys& keys, const ModelOptions& model) {
  if (keys.has("sliding_window") && keys.integer("sliding_window") < model.max_seq_len)
    keys.fail("sliding_window", fmt::format("{} is not supported; allowed: none, or at least {}",
                                            keys.integer("sliding_window"), model.max_seq_len));
}

void read_experts(const HfKeys& keys, MoEOptions& moe, const std::string& width) {
  moe.num_experts = keys.first_integer({"num_experts", "num_local_experts", "n_routed_experts"});
  moe.top_k = keys.integer("num_experts_per_tok");
  moe.expert_dim = keys.integer(width);
  moe.balance.clear();
}

void read_llama(const HfKeys& keys, HfModel& model) {
  read_common(keys, model.config.model, 1e-6, 1e4);
  read_heads(keys, model.config.model);
  keys.only("attention_bias", {false});
  model.config.moe.layers.kind = LayerPattern::Kind::kNone;
}

void read_mixtral(const HfKeys& keys, HfModel& model) {
  read_common(keys, model.config.model, 1e-5, 1e6);
  read_heads(keys, model.config.model);
  check_window(keys, model.config.model);
  read_experts(keys, model.config.moe, "intermediate_size");
  model.config.moe.router.type = "mixtral";
}

void read_olmoe(const HfKeys& keys, HfModel& model) {
  read_common(keys, model.config.model, 1e-5, 1e4);
  read_heads(keys, model.config.model);
  keys.only("attention_bias", {false});
  model.config.model.qk_norm = "full";
  if (keys.has("clip_qkv")) model.config.model.clip_qkv = keys.positive_or("clip_qkv", 0);
  read_experts(keys, model.config.moe, "intermediate_size");
  model.config.moe.router.normalize = keys.flag_or("norm_topk_prob", false);
}

/// Sparse where (layer + 1) is a multiple of the step and the layer is not listed as dense.
void read_sparse_layers(const HfKeys& keys, int64_t num_layers, LayerPattern& layers) {
  const int64_t step = keys.integer_or("decoder_sparse_step", 1);
  const std::vector<int64_t> dense = keys.integers("mlp_only_layers");
  for (int64_t layer = 0; layer < num_layers; ++layer)
    if ((layer + 1) % step == 0 && std::find(dense.begin(), dense.end(), layer) == dense.end())
      layers.list.push_back(layer);
  if (layers.list.empty()) {
    layers.kind = LayerPattern::Kind::kNone;
  } else if (static_cast<int64_t>(layers.list.size()) == num_layers) {
    layers = {};
  } else {
    layers.kind = LayerPattern::Kind::kList;
  }
}

void read_qwen_moe(const HfKeys& keys, HfModel& model) {
  read_common(keys, model.config.model, 1e-6, 1e4);
  read_heads(keys, model.config.model);
  keys.ignore({"sliding_window"});  // only with use_sliding_window
  MoEOptions& moe = model.config.moe;
  read_sparse_layers(keys, model.config.model.num_layers, moe.layers);
  read_experts(keys, moe, "moe_intermediate_size");
  moe.router.normalize = keys.flag_or("norm_topk_prob", false);
}

void read_qwen2_moe(const HfKeys& keys, HfModel& model) {
  read_qwen_moe(keys, model);
  model.config.model.attention_bias = keys.flag_or("qkv_bias", true);
  MoEOptions& moe = model.config.moe;
  moe.shared_experts = 1;
  moe.shared_dim = keys.integer("shared_expert_intermediate_size");
  moe.shared_gate = true;
}

void read_qwen3_moe(const HfKeys& keys, HfModel& model) {
  read_qwen_moe(keys, model);
  keys.only("attention_bias", {false});
  model.config.model.qk_norm = "head";
}

void read_latent_attention(const HfKeys& keys, ModelOptions& model) {
  keys.only("attention_bias", {false});
  keys.ignore({"head_dim", "qk_head_dim"});
  model.attention = "mla";
  if (keys.has("q_lora_rank")) model.q_lora_rank = keys.integer("q_lora_rank");
  model.kv_lora_rank = keys.integer("kv_lora_rank");
  model.qk_nope_head_dim = keys.integer("qk_nope_head_dim");
  model.qk_rope_head_dim = keys.integer("qk_rope_head_dim");
  model.v_head_dim = keys.integer("v_head_dim");
  model.rope_interleaved = keys.flag_or("rope_interleave", true);
}

void read_deepseek(const HfKeys& keys, HfModel& model, int64_t default_dense) {
  read_common(keys, model.config.model, 1e-6, 1e4);
  read_latent_attention(keys, model.config.model);
  keys.only("moe_layer_freq", {1});
  MoEOptions& moe = model.config.moe;
  const int64_t dense = keys.integer_or("first_k_dense_replace", default_dense, 0);
  if (dense >= model.config.model.num_layers) {
    moe.layers.kind = LayerPattern::Kind::kNone;
  } else if (dense > 0) {
    moe.layers.kind = LayerPattern::Kind::kFirstDense;
    moe.layers.first_dense = dense;
  }
  read_experts(keys, moe, "moe_intermediate_size");
  moe.shared_experts = keys.integer_or("n_shared_experts", 0, 0);
  moe.router.scale = keys.positive_or("routed_scaling_factor", 1.0);
}

void read_deepseek_v2(const HfKeys& keys, HfModel& model) {
  read_deepseek(keys, model, 0);
  keys.only("scoring_func", {"softmax"});
  keys.only("norm_topk_prob", {false});
  RouterOptions& router = model.config.moe.router;
  router.type = "deepseek_v2";
  keys.only("topk_method", {"greedy", "group_limited_greedy"});
  if (keys.text_or("topk_method", "greedy") == "greedy")
    return keys.ignore({"n_group", "topk_group"});
  router.groups = keys.integer("n_group");
  router.kept_groups = keys.integer("topk_group");
}

void read_deepseek_v3(const HfKeys& keys, HfModel& model) {
  read_deepseek(keys, model, 3);
  keys.only("scoring_func", {"sigmoid"});
  keys.only("topk_method", {"noaux_tc"});
  MoEOptions& moe = model.config.moe;
  moe.router.groups = keys.integer("n_group");
  moe.router.kept_groups = keys.integer("topk_group");
  if (keys.flag_or("norm_topk_prob", true)) {
    moe.router.type = "deepseek_v3";
  } else {
    moe.router.score = "sigmoid";
    moe.router.normalize = false;
  }
  moe.bias.type = "sign";
  moe.bias.rate = 0;
  model.extra_layers = keys.integer_or("num_nextn_predict_layers", 0, 0);
}

using Reader = void (*)(const HfKeys&, HfModel&);
const std::map<std::string, Reader>& readers() {
  static const std::map<std::string, Reader> kReaders = {{"deepseek_v2", read_deepseek_v2},
                                                         {"deepseek_v3", read_deepseek_v3},
                                                         {"llama", read_llama},
                                                         {"mixtral", read_mixtral},
                                                         {"olmoe", read_olmoe},
                                                         {"qwen2_moe", read_qwen2_moe},
                                                         {"qwen3_moe", read_qwen3_moe}};
  return kReaders;
}

json read_json(FileOps& files, const std::string& path) {
  if (files.kind(path) == FileOps::Kind::kMissing)
    throw CheckpointError(path + ": no such file; a Hugging Face folder holds one");
  json object;
  try {
    object = parse_strict_json(read_file(files, path, kMaxConfigBytes), path, kMaxDepth);
  } catch (const IoError& error) {
    throw CheckpointError(std::string(error.what()).substr(std::string("[io] ").size()));
  }
  if (!object.is_object()) throw CheckpointError(path + ": is not a JSON object");
  return object;
}

}  // namespace

HfModel read_hf_config(FileOps& files, const std::string& folder) {
  const std::string path = folder + "/config.json";
  const json object = read_json(files, path);
  const HfKeys keys(object, path);
  HfModel model;
  model.type = keys.text_or("model_type", "");
  const auto reader = readers().find(model.type);
  if (reader == readers().end()) {
    std::vector<std::string> names;
    for (const auto& entry : readers()) names.push_back(entry.first);
    keys.fail("model_type", fmt::format("`{}` is not supported; allowed: {}", model.type,
                                        fmt::join(names, ", ")));
  }
  reader->second(keys, model);
  try {
    validate(model.config.model);
    validate(model.config.moe);
  } catch (const ConfigError& error) {
    throw ConfigError(path + ": " +
                      std::string(error.what()).substr(std::string("[config] ").size()));
  }
  const auto unread = keys.unread();
  if (!unread.empty())
    model.notes.push_back(fmt::format("{}: passed over: {}", path, fmt::join(unread, ", ")));
  return model;
}

}  // namespace switchyard
