#pragma once

#include "trainers/config/train_config.h"

namespace switchyard::test {

/// A training so small that tests repeat it on several ranks: two layers of eight experts, four
/// steps of two micro-batches in fp64.
inline TrainConfig tiny_config() {
  TrainConfig config;
  config.model.num_layers = 2;
  config.model.hidden_dim = 32;
  config.model.num_heads = 2;
  config.model.num_kv_heads = 1;
  config.model.head_dim = 16;
  config.model.max_seq_len = 16;
  config.moe.num_experts = 8;
  config.moe.expert_dim = 24;
  config.data.num_domains = 4;
  config.data.content_tokens = 16;
  config.train.steps = 4;
  config.train.sequences_per_step = 8;
  config.train.micro_sequences = 4;
  config.train.precision = "fp64";
  config.optim.warmup_steps = 0;
  return config;
}

}  // namespace switchyard::test
