#include <algorithm>

#include "core/moe/routers/router.h"
#include "trainers/step/training.h"

namespace switchyard {
namespace {

int64_t attention_matrices(const ModelOptions& m) {
  const int64_t D = m.hidden_dim, H = m.num_heads;
  if (!m.is_latent()) return D * m.head_dim * (2 * H + 2 * m.num_kv_heads);
  const int64_t query = H * m.qk_head_dim();
  const int64_t q = m.q_lora_rank ? *m.q_lora_rank * (D + query) : D * query;
  const int64_t kv = D * (m.kv_lora_rank + m.qk_rope_head_dim) +
                     m.kv_lora_rank * H * (m.qk_nope_head_dim + m.v_head_dim);
  return q + kv + D * H * m.v_head_dim;
}

int64_t attention_vectors(const ModelOptions& m) {
  if (m.is_latent()) return m.q_lora_rank.value_or(0) + m.kv_lora_rank;
  const int64_t heads = m.num_heads + 2 * m.num_kv_heads;
  const int64_t bias = m.attention_bias ? heads * m.head_dim : 0;
  if (m.qk_norm == "head") return bias + 2 * m.head_dim;
  return bias + (m.qk_norm == "full" ? m.head_dim * (m.num_heads + m.num_kv_heads) : 0);
}

}  // namespace

// A matrix product costs two operations per weight forward and four backward; attention adds its
// two L × L products per layer, halved because it is causal.
ModelSize model_size(const TrainConfig& config) {
  const ModelOptions& m = config.model;
  const int64_t D = m.hidden_dim;
  const int64_t attention = attention_matrices(m), vectors = attention_vectors(m);
  ModelSize size;
  int64_t matrices = 0, previous_logits = 0;
  for (int64_t layer = 0; layer < m.num_layers; ++layer) {
    const int64_t common = attention + vectors + 2 * D;
    size.total += common;
    size.active += common;
    matrices += attention;
    if (config.moe.layers.contains(layer)) {
      const MoEOptions moe = config.moe.of_layer(config.moe.layers.count_before(layer));
      const int64_t expert = 3 * moe.latent_dim.value_or(D) * moe.expert_dim;
      const int64_t constant = 3 * D * moe.constant_experts;
      const auto router = make_router(moe.for_router());
      const int64_t logits = router->logit_columns(moe.num_routable());
      const int64_t router_weights = (logits + router->noise_columns(moe.num_routable())) * D +
                                     (moe.router.gating_residual ? logits * previous_logits : 0);
      previous_logits = logits;
      const int64_t always = router_weights + 2 * D * moe.latent_dim.value_or(0) +
                             3 * D * moe.shared_width() + (moe.shared_gate ? D : 0);
      const int64_t used = always + std::min(moe.experts_per_token(), moe.num_experts) * expert;
      size.total += always + moe.num_experts * expert + constant;
      size.active += used;
      matrices += used + constant;
    } else {
      size.total += 3 * D * m.ffn_dim;
      size.active += 3 * D * m.ffn_dim;
      matrices += 3 * D * m.ffn_dim;
    }
  }
  const int64_t vocabulary = *m.vocab_size * D;
  const int64_t tables = m.tie_embeddings ? vocabulary : 2 * vocabulary;
  size.total += tables + D;
  size.active += tables + D;
  matrices += vocabulary;
  const double length = static_cast<double>(config.train.sequence_length.value_or(m.max_seq_len));
  const int64_t head_dims = m.qk_head_dim() + (m.is_latent() ? m.v_head_dim : m.head_dim);
  const double attention_flops =
      static_cast<double>(m.num_layers * m.num_heads * head_dims) * length;
  size.flops_per_token = 6.0 * static_cast<double>(matrices) + 3.0 * attention_flops;
  return size;
}

}  // namespace switchyard
