#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/value.h"
#include "core/data/options.h"
#include "core/model/options.h"
#include "core/moe/options.h"
#include "core/optim/options.h"
#include "trainers/config/train_options.h"

namespace switchyard {

class Fields;

/// A whole config: checked once, then const.
struct TrainConfig {
  RunOptions run;
  ModelOptions model;
  MoEOptions moe;
  ParallelOptions parallel;
  DataOptions data;
  OptimOptions optim;
  TrainOptions train;
  EvalOptions eval;
  CheckpointOptions checkpoint;
  LogOptions log;

  /// Tokens of a training sequence that are predicted.
  int64_t sequence_length() const { return train.sequence_length.value_or(model.max_seq_len); }
  /// Micro-batches of an optimizer step.
  int64_t num_micro_batches() const { return train.sequences_per_step / train.micro_sequences; }
  /// Number of decoder layers with experts.
  int64_t num_moe_layers() const;
};

void describe(Fields& fields, TrainConfig& config);

/// A config, where each of its values was set, and remarks that do not stop a run.
struct LoadedConfig {
  TrainConfig config;
  Origins origins;
  std::vector<std::string> notes;  ///< settings that have no effect, one line each
};

/// Reads the file at `path` with the files it builds on, applies the `key.path=value` overrides,
/// and checks everything that does not depend on the number of ranks. `shipped_dir` is the folder
/// of `base: switchyard/...`. Throws ConfigError with the place of the first problem.
LoadedConfig load_config(const std::string& path, const std::vector<std::string>& overrides,
                         const std::string& shipped_dir);

/// Everything of load_config()'s checks that is about values and their combinations. Throws
/// ConfigError; the text names the key paths.
void validate(TrainConfig& config);

/// Throws ConfigError for a config that this many ranks cannot run: fewer sequences in a
/// micro-batch than ranks, or an expert-parallel size that does not divide the ranks or exceeds
/// num_experts.
void check_ranks(const LoadedConfig& loaded, int64_t num_ranks);

/// Ranks that share one set of experts: parallel.expert, for auto the greatest common divisor of
/// `num_ranks` and num_experts.
int64_t expert_ranks(const TrainConfig& config, int64_t num_ranks);

/// The resolved config as YAML, each value with its origin as a comment; reads back to the same
/// config.
std::string resolved_yaml(const LoadedConfig& loaded);

/// What stands between a checkpoint of `saved` and a run of `now`: one line for each key of model,
/// moe, data, optimizer type, seed, sequence layout and precision that differs. "" where it can
/// resume.
std::string resume_differences(const TrainConfig& saved, const TrainConfig& now);

}  // namespace switchyard
