#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

// A run small enough to repeat often, with what tends to break: drops, noise, a bias, accumulation.
namespace switchyard::test {

inline const char* const kTinyConfig = R"(
run: {name: tiny}
model: {num_layers: 2, hidden_dim: 32, num_heads: 2, num_kv_heads: 1, head_dim: 16, max_seq_len: 32}
moe:
  num_experts: 8
  top_k: 2
  expert_dim: 32
  router: {type: top_k, score: sigmoid, jitter: 0.01}
  balance: [{type: load_balance, scope: step, coef: 0.01}]
  bias: {type: sign}
  capacity: {factor: 1.25}
data: {type: synthetic, num_domains: 4, content_tokens: 32}
optim: {warmup_steps: 10}
train: {steps: 60, sequences_per_step: 16, micro_sequences: 8}
eval: {every: 30, sequences: 32}
checkpoint: {every: 10}
log: {every: 1, tensorboard: false}
)";

/// `train CONFIG run.dir=DIR` on `ranks` ranks, with further overrides.
inline std::vector<std::string> tiny_training(const TempFolder& temp, int ranks,
                                              const std::string& dir,
                                              const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> arguments = {"train", temp.write("tiny.yaml", kTinyConfig),
                                        "run.dir=" + temp.path(dir)};
  arguments.insert(arguments.end(), overrides.begin(), overrides.end());
  return switchyard(ranks, arguments);
}

inline nlohmann::json summary_of(const TempFolder& temp, const std::string& dir) {
  return nlohmann::json::parse(temp.read(dir + "/summary.json"));
}

/// What each training line of metrics.jsonl says of one key, as written, by step.
inline std::map<int64_t, std::string> logged(const TempFolder& temp, const std::string& dir,
                                             const std::string& key) {
  std::map<int64_t, std::string> values;
  for (const auto& line : lines_of(temp.read(dir + "/metrics.jsonl"))) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_discarded() || entry.contains("event")) continue;
    values[entry.at("step").get<int64_t>()] = entry.at(key).dump();
  }
  return values;
}

/// Steps written so far; 0 while there is no file.
inline int64_t steps_logged(const TempFolder& temp, const std::string& dir) {
  const auto steps = logged(temp, dir, "step");
  return steps.empty() ? 0 : steps.rbegin()->first;
}

}  // namespace switchyard::test
