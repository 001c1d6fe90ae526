#include "trainers/import/hf_tensors.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

namespace switchyard {
namespace {

using Shape = std::vector<int64_t>;

/// Collects the targets of one model.
class Mapping {
 public:
  Mapping(const HfModel& model, const std::set<std::string>& names)
      : type_(model.type), model_(model.config.model), moe_(model.config.moe), names_(names) {}

  std::vector<HfTarget> all() {
    const int64_t V = *model_.vocab_size, D = model_.hidden_dim;
    add("embedding", "model.embed_tokens.weight", {V, D});
    for (int64_t layer = 0; layer < model_.num_layers; ++layer) add_layer(layer);
    add("norm.weight", "model.norm.weight", {D});
    if (!model_.tie_embeddings) add("head", "lm_head.weight", {V, D});
    return std::move(targets_);
  }

 private:
  void add(const std::string& name, const std::string& from, const Shape& shape) {
    targets_.push_back({name, {{from, shape}}});
  }

  void add_layer(int64_t layer) {
    const std::string ours = fmt::format("layers.{}.", layer);
    const std::string theirs = fmt::format("model.layers.{}.", layer);
    const Shape width = {model_.hidden_dim};
    add(ours + "attention_norm.weight", theirs + "input_layernorm.weight", width);
    add(ours + "ffn_norm.weight", theirs + "post_attention_layernorm.weight", width);
    if (model_.is_latent())
      add_latent_attention(ours + "attention.", theirs + "self_attn.");
    else
      add_attention(ours + "attention.", theirs + "self_attn.");
    if (moe_.layers.contains(layer))
      add_experts(ours, theirs + moe_block(theirs));
    else
      add_ffn(ours + "ffn.", theirs + "mlp.", model_.ffn_dim);
  }

  void add_attention(const std::string& ours, const std::string& theirs) {
    const int64_t D = model_.hidden_dim, C = model_.head_dim;
    const int64_t query = model_.num_heads * C, key = model_.num_kv_heads * C;
    for (const auto& [name, rows] :
         {std::pair{"q", query}, std::pair{"k", key}, std::pair{"v", key}}) {
      add(fmt::format("{}{}_proj", ours, name), fmt::format("{}{}_proj.weight", theirs, name),
          {rows, D});
      if (model_.attention_bias)
        add(fmt::format("{}{}_bias", ours, name), fmt::format("{}{}_proj.bias", theirs, name),
            {rows});
    }
    add(ours + "o_proj", theirs + "o_proj.weight", {D, query});
    if (model_.qk_norm == "none") return;
    const bool full = model_.qk_norm == "full";
    add(ours + "q_norm", theirs + "q_norm.weight", {full ? query : C});
    add(ours + "k_norm", theirs + "k_norm.weight", {full ? key : C});
  }

  void add_latent_attention(const std::string& ours, const std::string& theirs) {
    const int64_t D = model_.hidden_dim, H = model_.num_heads, R = model_.kv_lora_rank;
    const int64_t query = H * model_.qk_head_dim();
    if (model_.q_lora_rank) {
      add(ours + "q_a_proj", theirs + "q_a_proj.weight", {*model_.q_lora_rank, D});
      add(ours + "q_a_norm.weight", theirs + "q_a_layernorm.weight", {*model_.q_lora_rank});
      add(ours + "q_b_proj", theirs + "q_b_proj.weight", {query, *model_.q_lora_rank});
    } else {
      add(ours + "q_proj", theirs + "q_proj.weight", {query, D});
    }
    add(ours + "kv_a_proj", theirs + "kv_a_proj_with_mqa.weight", {R + model_.qk_rope_head_dim, D});
    add(ours + "kv_a_norm.weight", theirs + "kv_a_layernorm.weight", {R});
    add(ours + "kv_b_proj", theirs + "kv_b_proj.weight",
        {H * (model_.qk_nope_head_dim + model_.v_head_dim), R});
    add(ours + "o_proj", theirs + "o_proj.weight", {D, H * model_.v_head_dim});
  }

  void add_ffn(const std::string& ours, const std::string& theirs, int64_t width) {
    const int64_t D = model_.hidden_dim;
    targets_.push_back(
        {ours + "gate_up",
         {{theirs + "gate_proj.weight", {width, D}}, {theirs + "up_proj.weight", {width, D}}}});
    add(ours + "down", theirs + "down_proj.weight", {D, width});
  }

  // Mixtral's files have a name of their own for the block, its fused form the common one.
  std::string moe_block(const std::string& layer) const {
    const bool own = type_ == "mixtral" && !names_.contains(layer + "mlp.gate.weight");
    return own ? "block_sparse_moe." : "mlp.";
  }

  void add_experts(const std::string& ours, const std::string& theirs) {
    const int64_t E = moe_.num_experts, D = model_.hidden_dim, F = moe_.expert_dim;
    add(ours + "router", theirs + "gate.weight", {E, D});
    if (moe_.bias.type != "none")
      add(ours + "router_bias", theirs + "gate.e_score_correction_bias", {E});
    const bool fused = names_.contains(theirs + "experts.gate_up_proj");
    for (int64_t expert = 0; expert < E; ++expert) {
      const std::string our_expert = fmt::format("{}experts.{}.", ours, expert);
      const std::string their_expert = fmt::format("{}experts.{}.", theirs, expert);
      if (fused) {
        targets_.push_back(
            {our_expert + "gate_up", {{theirs + "experts.gate_up_proj", {E, 2 * F, D}, expert}}});
        targets_.push_back(
            {our_expert + "down", {{theirs + "experts.down_proj", {E, D, F}, expert}}});
      } else if (type_ == "mixtral") {
        targets_.push_back(
            {our_expert + "gate_up",
             {{their_expert + "w1.weight", {F, D}}, {their_expert + "w3.weight", {F, D}}}});
        add(our_expert + "down", their_expert + "w2.weight", {D, F});
      } else {
        add_ffn(our_expert, their_expert, F);
      }
    }
    add_shared(ours, theirs);
  }

  void add_shared(const std::string& ours, const std::string& theirs) {
    if (moe_.shared_experts == 0) return;
    const int64_t width = moe_.shared_dim.value_or(moe_.expert_dim * moe_.shared_experts);
    const bool gated = type_ == "qwen2_moe";
    add_ffn(ours + "shared.", theirs + (gated ? "shared_expert." : "shared_experts."), width);
    if (gated)
      add(ours + "shared.gate", theirs + "shared_expert_gate.weight", {1, model_.hidden_dim});
  }

  const std::string& type_;
  const ModelOptions& model_;
  const MoEOptions& moe_;
  const std::set<std::string>& names_;
  std::vector<HfTarget> targets_;
};

}  // namespace

std::vector<HfTarget> hf_targets(const HfModel& model, const std::set<std::string>& names) {
  return Mapping(model, names).all();
}

at::Tensor assemble(const HfTarget& target,
                    const std::function<at::Tensor(const std::string&)>& read) {
  std::vector<at::Tensor> parts;
  for (const HfPart& part : target.parts) {
    const at::Tensor whole = read(part.name);
    parts.push_back(part.expert < 0 ? whole : whole.select(0, part.expert));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 0);
}

}  // namespace switchyard
