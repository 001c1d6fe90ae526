#include "trainers/import/hf_families.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <set>

#include "core/base/limits.h"
#include "core/checkpoint/strict_json.h"
#include "core/config/fields.h"
#include "trainers/import/hf_rope.h"

namespace switchyard {
namespace {

constexpr HfRange kWidths{1, kMaxWidth}, kHeads{1, kMaxHeads};

// Each has tensors of its own in the files.
constexpr int64_t kMaxExpertsOfAllLayers = 200'000;

// transformers builds the norms of latents without config.rms_norm_eps.
constexpr double kLatentNormEps = 1e-6;

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

/// A model that is being filled in, with the origin of each value.
struct Filling {
  const HfKeys& keys;
  HfModel& result;
  ModelOptions& model;
  MoEOptions& moe;

  void came(const std::string& path, const std::string& key) const {
    origin(path, (keys.is_there(key) ? "config.json: " : "transformers' default of ") + key);
  }
  /// What every model of the family has.
  void of_family(const std::string& path) const {
    origin(path, "config.json: model_type " + result.type);
  }
  void origin(const std::string& path, const std::string& text) const {
    result.origins.set(path, {text, 0, 0});
  }

  void integer(const std::string& path, int64_t& ours, const std::string& key,
               HfRange range = {}) const {
    ours = keys.integer(key, range);
    came(path, key);
  }
  void positive(const std::string& path, double& ours, const std::string& key,
                double otherwise) const {
    ours = keys.positive_or(key, otherwise);
    came(path, key);
  }
  void flag(const std::string& path, bool& ours, const std::string& key, bool otherwise) const {
    ours = keys.flag_or(key, otherwise);
    came(path, key);
  }
};

/// What a family's configuration class gives to keys that are absent.
struct Absent {
  double norm_eps = 1e-6;
  double rope_theta = 1e4;
  int64_t kv_heads = 0;  ///< 0 = as many as heads
};

/// The rotary positions. Their base may stand in three places, their scaling in two, but in one
/// value.
void read_rope(const Filling& fill, double otherwise) {
  const HfKeys& keys = fill.keys;
  std::string place, scaled_by;
  const auto take = [&](const HfKeys& object, const std::string& path) {
    if (!object.is_there("rope_theta")) return;
    const double theta = object.positive("rope_theta");
    if (!place.empty() && theta != fill.model.rope_theta)
      object.fail("rope_theta",
                  fmt::format("{} contradicts {}: {}", theta, place, fill.model.rope_theta));
    fill.model.rope_theta = theta;
    place = path;
  };
  fill.model.rope_theta = otherwise;
  take(keys, "rope_theta");
  for (const std::string name : {"rope_scaling", "rope_parameters"}) {
    if (!keys.has(name)) continue;
    const HfKeys rope = keys.object(name);
    rope.only("partial_rotary_factor", {1.0});
    take(rope, name + ".rope_theta");
    const RopeScaling scaling = read_rope_scaling(keys, rope, fill.model.max_seq_len);
    if (!scaled_by.empty() && scaling != fill.model.rope_scaling)
      keys.fail(name, "contradicts " + scaled_by);
    fill.model.rope_scaling = scaling;
    scaled_by = name;
    if (fill.model.rope_scaling.type != "none")
      for (const auto& [key, value] : Fields::bind(fill.model.rope_scaling)->present().map)
        fill.origin("model.rope_scaling." + key, "config.json: " + name);
    if (!rope.unread().empty()) rope.fail(shown_name(rope.unread().front()), "is not supported");
  }
  fill.origin("model.rope_theta",
              place.empty() ? "transformers' default of rope_theta" : "config.json: " + place);
}

void check_common(const HfKeys& keys) {
  keys.only("hidden_act", {"silu", "swish"});
  if (keys.is_there("hidden_act")) keys.text("hidden_act");
  keys.only("attention_dropout", {0.0});
  keys.only("quantization_config", {});
  keys.only("partial_rotary_factor", {1.0});
  keys.only("use_sliding_window", {false});
  keys.only("mlp_bias", {false});
  keys.only("logit_scale", {1.0});
  keys.only("router_jitter_noise", {0.0});
  for (const auto& type : keys.texts("layer_types"))
    if (type != "full_attention")
      keys.fail("layer_types", shown_name(type) + " is not supported; allowed: full_attention");
}

void read_common(const Filling& fill, const Absent& absent) {
  const HfKeys& keys = fill.keys;
  ModelOptions& model = fill.model;
  check_common(keys);
  keys.ignore(kNeutral);
  fill.integer("model.num_layers", model.num_layers, "num_hidden_layers", {1, kMaxLayers});
  fill.integer("model.hidden_dim", model.hidden_dim, "hidden_size", kWidths);
  fill.integer("model.num_heads", model.num_heads, "num_attention_heads", kHeads);
  fill.integer("model.ffn_dim", model.ffn_dim, "intermediate_size", kWidths);
  model.vocab_size = keys.integer("vocab_size");
  fill.came("model.vocab_size", "vocab_size");
  fill.integer("model.max_seq_len", model.max_seq_len, "max_position_embeddings",
               {1, kMaxPositions});
  fill.positive("model.norm_eps", model.norm_eps, "rms_norm_eps", absent.norm_eps);
  fill.positive("model.init_std", model.init_std, "initializer_range", 0.02);
  fill.flag("model.tie_embeddings", model.tie_embeddings, "tie_word_embeddings", false);
  read_rope(fill, absent.rope_theta);
}

/// Heads that share keys and values in groups. A null stands for what is absent in most families.
void read_heads(const Filling& fill, const Absent& absent) {
  const HfKeys& keys = fill.keys;
  ModelOptions& model = fill.model;
  model.num_kv_heads = keys.is_there("num_key_value_heads") || absent.kv_heads == 0
                           ? model.num_heads
                           : absent.kv_heads;
  if (keys.has("num_key_value_heads"))
    model.num_kv_heads = keys.integer("num_key_value_heads", kHeads);
  fill.came("model.num_kv_heads", "num_key_value_heads");
  if (!keys.has("head_dim") && model.hidden_dim % model.num_heads != 0)
    keys.fail("num_attention_heads",
              fmt::format("{} does not divide hidden_size {}", model.num_heads, model.hidden_dim));
  model.head_dim =
      keys.has("head_dim") ? keys.integer("head_dim", kWidths) : model.hidden_dim / model.num_heads;
  fill.came("model.head_dim", "head_dim");
}

/// A window no shorter than the longest sequence hides nothing.
void check_window(const Filling& fill) {
  const int64_t longest = fill.model.max_seq_len;
  if (!fill.keys.has("sliding_window")) return;
  const int64_t window = fill.keys.integer("sliding_window");
  if (window < longest)
    fill.keys.fail("sliding_window", fmt::format("{} is not supported; allowed: none, or at least "
                                                 "{}",
                                                 window, longest));
}

void read_experts(const Filling& fill, const std::string& width) {
  MoEOptions& moe = fill.moe;
  const std::string key =
      fill.keys.name_of({"num_experts", "num_local_experts", "n_routed_experts"});
  fill.integer("moe.num_experts", moe.num_experts, key, {1, kMaxExperts});
  fill.integer("moe.top_k", moe.top_k, "num_experts_per_tok", {1, kMaxExperts});
  fill.integer("moe.expert_dim", moe.expert_dim, width, kWidths);
  moe.balance.clear();
  fill.origin("moe.balance", "no balance terms are imported");
  const int64_t layers = moe.layers.count_before(fill.model.num_layers);
  if (layers * moe.num_experts > kMaxExpertsOfAllLayers)
    fill.keys.fail(key, fmt::format("{} in each of {} layers are too many; allowed: {} in all",
                                    moe.num_experts, layers, kMaxExpertsOfAllLayers));
}

/// Softmax over all experts, weights as they are or divided by their sum.
void read_softmax_router(const Filling& fill) {
  fill.of_family("moe.router.type");
  fill.moe.router.normalize = fill.keys.flag_or("norm_topk_prob", false);
  fill.came("moe.router.normalize", "norm_topk_prob");
}

void read_llama(const Filling& fill) {
  read_common(fill, {});
  read_heads(fill, {});
  fill.keys.only("attention_bias", {false});
  fill.moe.layers.kind = LayerPattern::Kind::kNone;
  fill.of_family("moe.layers");
}

void read_mixtral(const Filling& fill) {
  const Absent absent{1e-5, 1e6, 8};
  read_common(fill, absent);
  read_heads(fill, absent);
  check_window(fill);
  read_experts(fill, "intermediate_size");
  fill.moe.router.type = "mixtral";
  fill.of_family("moe.router.type");
}

void read_olmoe(const Filling& fill) {
  const HfKeys& keys = fill.keys;
  const Absent absent{1e-5, 1e4, 0};
  read_common(fill, absent);
  read_heads(fill, absent);
  keys.only("attention_bias", {false});
  fill.model.qk_norm = "full";
  fill.of_family("model.qk_norm");
  if (keys.has("clip_qkv")) {
    fill.model.clip_qkv = keys.positive("clip_qkv");
    fill.came("model.clip_qkv", "clip_qkv");
  }
  read_experts(fill, "intermediate_size");
  read_softmax_router(fill);
}

/// Sparse where (layer + 1) is a multiple of the step and the layer is not listed as dense.
void read_sparse_layers(const Filling& fill) {
  const int64_t step = fill.keys.integer_or("decoder_sparse_step", 1);
  const std::vector<int64_t> listed = fill.keys.integers("mlp_only_layers");
  const std::set<int64_t> dense(listed.begin(), listed.end());
  LayerPattern& layers = fill.moe.layers;
  for (int64_t layer = 0; layer < fill.model.num_layers; ++layer)
    if ((layer + 1) % step == 0 && !dense.contains(layer)) layers.list.push_back(layer);
  if (layers.list.empty()) {
    layers.kind = LayerPattern::Kind::kNone;
  } else if (static_cast<int64_t>(layers.list.size()) == fill.model.num_layers) {
    layers = {};
  } else {
    layers.kind = LayerPattern::Kind::kList;
  }
  fill.origin("moe.layers", "config.json: decoder_sparse_step, mlp_only_layers");
}

void read_qwen_moe(const Filling& fill, const Absent& absent) {
  read_common(fill, absent);
  read_heads(fill, absent);
  fill.keys.ignore({"sliding_window"});  // only with use_sliding_window
  read_sparse_layers(fill);
  read_experts(fill, "moe_intermediate_size");
  read_softmax_router(fill);
}

void read_qwen2_moe(const Filling& fill) {
  read_qwen_moe(fill, {1e-6, 1e4, 16});
  fill.flag("model.attention_bias", fill.model.attention_bias, "qkv_bias", true);
  fill.moe.shared_experts = 1;
  fill.moe.shared_dim = fill.keys.integer("shared_expert_intermediate_size", kWidths);
  fill.moe.shared_gate = true;
  fill.of_family("moe.shared_experts");
  fill.came("moe.shared_dim", "shared_expert_intermediate_size");
  fill.of_family("moe.shared_gate");
}

void read_qwen3_moe(const Filling& fill) {
  read_qwen_moe(fill, {1e-6, 1e4, 4});
  fill.keys.only("attention_bias", {false});
  fill.model.qk_norm = "head";
  fill.of_family("model.qk_norm");
}

void read_latent_attention(const Filling& fill) {
  const HfKeys& keys = fill.keys;
  ModelOptions& model = fill.model;
  keys.only("attention_bias", {false});
  keys.only("num_key_value_heads", {model.num_heads});
  keys.ignore({"head_dim", "qk_head_dim"});
  model.attention = "mla";
  fill.of_family("model.attention");
  if (keys.has("q_lora_rank") || !keys.is_there("q_lora_rank")) {
    model.q_lora_rank = keys.integer_or("q_lora_rank", 1536, kWidths);
    fill.came("model.q_lora_rank", "q_lora_rank");
  }
  fill.integer("model.kv_lora_rank", model.kv_lora_rank, "kv_lora_rank", kWidths);
  fill.integer("model.qk_nope_head_dim", model.qk_nope_head_dim, "qk_nope_head_dim", kWidths);
  fill.integer("model.qk_rope_head_dim", model.qk_rope_head_dim, "qk_rope_head_dim", kWidths);
  fill.integer("model.v_head_dim", model.v_head_dim, "v_head_dim", kWidths);
  if (model.norm_eps != kLatentNormEps) {
    model.latent_norm_eps = kLatentNormEps;
    fill.of_family("model.latent_norm_eps");
  }
}

/// What the configuration classes of DeepSeek-V2 and V3 give to keys that are absent.
struct DeepSeekAbsent {
  int64_t dense, shared;
  double scale;
};

void read_deepseek(const Filling& fill, const DeepSeekAbsent& absent) {
  const HfKeys& keys = fill.keys;
  MoEOptions& moe = fill.moe;
  read_common(fill, {});
  read_latent_attention(fill);
  keys.only("moe_layer_freq", {1});
  const HfRange from_zero{0, HfRange{}.highest};
  const int64_t dense = keys.integer_or("first_k_dense_replace", absent.dense, from_zero);
  if (dense >= fill.model.num_layers) {
    moe.layers.kind = LayerPattern::Kind::kNone;
  } else if (dense > 0) {
    moe.layers.kind = LayerPattern::Kind::kFirstDense;
    moe.layers.first_dense = dense;
  }
  fill.came("moe.layers", "first_k_dense_replace");
  read_experts(fill, "moe_intermediate_size");
  moe.shared_experts = keys.integer_or("n_shared_experts", absent.shared, {0, kMaxExperts});
  fill.came("moe.shared_experts", "n_shared_experts");
  fill.positive("moe.router.scale", moe.router.scale, "routed_scaling_factor", absent.scale);
}

void read_groups(const Filling& fill) {
  fill.integer("moe.router.groups", fill.moe.router.groups, "n_group");
  fill.integer("moe.router.kept_groups", fill.moe.router.kept_groups, "topk_group");
}

void read_deepseek_v2(const Filling& fill) {
  const HfKeys& keys = fill.keys;
  read_deepseek(fill, {0, 2, 1.0});
  // Its code in transformers has neither key: it always turns pairs and never divides by the sum.
  keys.only("rope_interleave", {true});
  keys.only("norm_topk_prob", {false});
  fill.model.rope_interleaved = true;
  fill.of_family("model.rope_interleaved");
  keys.only("scoring_func", {"softmax"});
  fill.moe.router.type = "deepseek_v2";
  fill.of_family("moe.router.type");
  keys.only("topk_method", {"greedy", "group_limited_greedy"});
  if (keys.text_or("topk_method", "greedy") == "greedy")
    keys.ignore({"n_group", "topk_group"});
  else
    read_groups(fill);
}

void read_deepseek_v3(const Filling& fill) {
  const HfKeys& keys = fill.keys;
  MoEOptions& moe = fill.moe;
  read_deepseek(fill, {3, 1, 2.5});
  fill.flag("model.rope_interleaved", fill.model.rope_interleaved, "rope_interleave", true);
  keys.only("scoring_func", {"sigmoid"});
  keys.only("topk_method", {"noaux_tc"});
  read_groups(fill);
  if (keys.flag_or("norm_topk_prob", true)) {
    moe.router.type = "deepseek_v3";
  } else {
    moe.router.score = "sigmoid";
    moe.router.normalize = false;
    fill.of_family("moe.router.score");
    fill.came("moe.router.normalize", "norm_topk_prob");
  }
  fill.came("moe.router.type", "norm_topk_prob");
  moe.bias.type = "sign";
  moe.bias.rate = 0;
  fill.of_family("moe.bias.type");
  fill.origin("moe.bias.rate", "the biases stay as they are imported");
  const std::string extra = keys.name_of({"num_nextn_predict_layers", "num_mtp_layers"});
  fill.result.extra_layers = keys.integer_or(extra, 1, {0, HfRange{}.highest});
}

using ReadFamily = void (*)(const Filling&);
const std::map<std::string, ReadFamily>& readers() {
  static const std::map<std::string, ReadFamily> kReaders = {{"deepseek_v2", read_deepseek_v2},
                                                             {"deepseek_v3", read_deepseek_v3},
                                                             {"llama", read_llama},
                                                             {"mixtral", read_mixtral},
                                                             {"olmoe", read_olmoe},
                                                             {"qwen2_moe", read_qwen2_moe},
                                                             {"qwen3_moe", read_qwen3_moe}};
  return kReaders;
}

void drop_unused(HfModel& result) {
  ModelOptions& model = result.config.model;
  MoEOptions& moe = result.config.moe;
  const int64_t sparse = moe.layers.count_before(model.num_layers);
  if (sparse == model.num_layers) {
    const ModelOptions defaults;
    model.ffn_dim = defaults.ffn_dim;
    result.origins.erase("model.ffn_dim");
  } else if (sparse == 0) {
    const Mark origin = *result.origins.find("moe.layers");
    moe = {};
    moe.layers.kind = LayerPattern::Kind::kNone;
    result.origins.erase("moe");
    result.origins.set("moe.layers", origin);
  }
}

}  // namespace

void read_hf_family(const HfKeys& keys, HfModel& model) {
  model.type = keys.text_or("model_type", "");
  const auto reader = readers().find(model.type);
  if (reader == readers().end()) {
    std::vector<std::string> names;
    for (const auto& entry : readers()) names.push_back(entry.first);
    keys.fail("model_type", fmt::format("{} is not supported; allowed: {}", shown_name(model.type),
                                        fmt::join(names, ", ")));
  }
  reader->second({keys, model, model.config.model, model.config.moe});
  drop_unused(model);
}

}  // namespace switchyard
