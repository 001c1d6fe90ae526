#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/nn/init.h"
#include "core/nn/rope.h"

namespace switchyard {

class Fields;

/// The `model` block of a config: a decoder-only transformer.
struct ModelOptions {
  int64_t num_layers = 4;
  int64_t hidden_dim = 128;
  int64_t num_heads = 4;
  int64_t num_kv_heads = 2;
  int64_t head_dim = 32;
  int64_t ffn_dim = 384;              ///< width of the dense feed-forward layers
  std::optional<int64_t> vocab_size;  ///< auto = the data's
  int64_t max_seq_len = 128;
  double rope_theta = 10000.0;
  bool rope_interleaved = false;
  RopeScaling rope_scaling;
  double norm_eps = 1e-5;
  bool tie_embeddings = false;
  std::string qk_norm = "none";   ///< none | head (one norm per head) | full (one over all heads)
  std::string attention = "gqa";  ///< gqa | mla (multi-head latent attention)
  bool attention_bias = false;    ///< gqa: of queries, keys and values
  std::optional<double> clip_qkv;
  std::optional<int64_t> q_lora_rank;  ///< mla: width of the queries' latent; none = one matrix
  int64_t kv_lora_rank = 64;           ///< mla, as all below
  int64_t qk_nope_head_dim = 32;
  int64_t qk_rope_head_dim = 16;
  int64_t v_head_dim = 32;
  std::optional<double> latent_norm_eps;  ///< of the latents' norms; auto = norm_eps
  std::string init = "normal";            ///< normal | fan_in
  double init_std = 0.02;                 ///< of normal

  bool is_latent() const { return attention == "mla"; }
  int64_t qk_head_dim() const {
    return is_latent() ? qk_nope_head_dim + qk_rope_head_dim : head_dim;
  }
  WeightInit weight_init() const { return {.std = init_std, .fan_in = init == "fan_in"}; }
  RopeOptions rope() const { return {rope_theta, rope_interleaved, max_seq_len, rope_scaling}; }
};

void describe(Fields& fields, ModelOptions& options);

/// Throws ConfigError for a combination that no single key can refuse (num_heads % num_kv_heads).
void validate(const ModelOptions& options);

}  // namespace switchyard
