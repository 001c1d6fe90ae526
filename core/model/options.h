#pragma once

#include <cstdint>
#include <optional>
#include <string>

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
  double norm_eps = 1e-5;
  bool tie_embeddings = false;
  std::string qk_norm = "none";  ///< none | head (one norm per head) | full (one over all heads)
  double init_std = 0.02;
};

void describe(Fields& fields, ModelOptions& options);

/// Throws ConfigError for a combination that no single key can refuse (num_heads % num_kv_heads).
void validate(const ModelOptions& options);

}  // namespace switchyard
