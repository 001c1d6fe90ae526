#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

/// What `switchyard route` does: decides about recorded logits as an MoE layer would, without a
/// model.
struct RouteJob {
  std::string scores;  ///< a safetensors file, see read_scores()
  std::string config;  ///< of which the `moe` block counts
  std::string out;     ///< a safetensors file, replaced if it is there, behind a link too
  std::vector<std::string> overrides;
  std::string shipped_dir;                 ///< of shipped configs
  bool training = false;                   ///< `factor` and random choices
  std::optional<uint64_t> seed;            ///< run.seed
  int64_t step = 0, layer = 0;             ///< coordinates of the random choices
  std::optional<int64_t> sequence_length;  ///< one sequence of all tokens
  int num_ranks = 1;                       ///< threads that share the sequences; may have none
};

struct RouteReport {
  std::string metrics;             ///< one JSON object, names as in metrics.jsonl
  std::vector<std::string> notes;  ///< of the config, see LoadedConfig
};

/// Writes `out`: expert_ids [T, K] (int64, −1 none), weights, kept (uint8), slot (int64, place in
/// the expert's queue, −1 if refused), counts [E] before drops, new_bias [E] as after a step of
/// exactly these tokens, and for each balance term i term.<i> [1] (fp64) and term_grad.<i>, its
/// gradient by the logits, both without the coefficient. The same bits for any number of ranks.
/// Throws ConfigError or DataError before any work, IoError where `out` cannot be written: it is
/// then as it was, or the whole new file.
RouteReport run_route(const RouteJob& job);

}  // namespace switchyard
