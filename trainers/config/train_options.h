#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

class Fields;

/// The `run` block of a config.
struct RunOptions {
  std::string name;                ///< the file's name by default
  std::string dir;                 ///< runs/NAME by default; relative to the current folder
  int64_t seed = 1;                ///< names the run; data.seed names the corpus
  std::string resume = "auto";     ///< auto | never | must | path of a checkpoint
  std::string init_from = "none";  ///< none | path of a checkpoint or run: weights only
  std::string device = "auto";     ///< auto | cpu | cuda
  std::optional<int64_t> threads;  ///< auto = OMP_NUM_THREADS, else cores / local ranks
};

/// The `parallel` block of a config.
struct ParallelOptions {
  std::optional<int64_t> expert;  ///< ranks that share one set of experts; auto: see expert_ranks()
  std::string comm = "auto";      ///< auto | mpi | nccl | thread | local
};

/// The `train` block of a config. Sequences count over all ranks.
struct TrainOptions {
  int64_t steps = 300;
  int64_t sequences_per_step = 32;
  int64_t micro_sequences = 32;
  std::optional<int64_t> sequence_length;  ///< auto = model.max_seq_len
  std::string precision = "fp32";          ///< fp32 | fp64 | bf16
  std::string recompute = "none";          ///< none | full
  std::string on_nan = "abort";            ///< abort | skip
  std::string record_routing;              ///< folder for the steps' assignments; "" = none
  std::string replay_routing;              ///< folder to take them from; "" = the router decides
};

/// The `eval` block of a config.
struct EvalOptions {
  int64_t every = 100;  ///< steps; 0 = never
  int64_t sequences = 512;
};

/// The `checkpoint` block of a config.
struct CheckpointOptions {
  int64_t every = 100;  ///< steps; 0 = never
  int64_t keep = 3;     ///< newest checkpoints that stay
};

/// The `log` block of a config.
struct LogOptions {
  int64_t every = 10;  ///< steps; 0 = never
  bool tensorboard = true;
};

void describe(Fields& fields, RunOptions& options);
void describe(Fields& fields, ParallelOptions& options);
void describe(Fields& fields, TrainOptions& options);
void describe(Fields& fields, EvalOptions& options);
void describe(Fields& fields, CheckpointOptions& options);
void describe(Fields& fields, LogOptions& options);

}  // namespace switchyard
