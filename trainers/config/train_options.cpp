#include "trainers/config/train_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/base/limits.h"
#include "core/config/fields.h"
#include "core/config/nearest.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kResumeWords = {"auto", "never", "must"}, kInitWords = {"none"};

/// A relative path starts from the file that names it, or from the current folder on the command
/// line.
std::string input_path(const Value& value, const fs::path& path) {
  const bool from_file = value.mark.line > 0;
  const fs::path folder = from_file ? fs::path(value.mark.source).parent_path() : fs::path();
  return fs::absolute(folder / path).lexically_normal().string();
}

/// A word, or the path of a checkpoint.
void read_word_or_path(const Value& value, const std::vector<std::string>& words,
                       std::string& target) {
  const std::string text = value.as_text();
  if (std::find(words.begin(), words.end(), text) != words.end()) {
    target = text;
    return;
  }
  const std::string near = nearest(text, words);
  const fs::path path(text);
  if (text.empty() || (!near.empty() && path.parent_path().empty() && !fs::exists(path)))
    value.fail(fmt::format("{} is not one of the choices{}, or the path of a checkpoint",
                           value.shown(), suggestion(text, words)));
  target = input_path(value, path);
}

/// A folder, or the word none, which is "".
Field& folder_or_none(Fields& fields, const std::string& key, std::string& target, bool input,
                      const std::string& help) {
  return fields
      .custom(
          key, "none | folder",
          [&target, input](const Value& value) {
            const std::string path = value.as_text();
            if (path.empty()) value.fail("the path is empty; allowed: none | folder");
            target = path == "none" ? "" : input ? input_path(value, path) : path;
          },
          [&target] { return target.empty() ? Value::of_word("none") : Value::of_text(target); },
          help)
      .with_schema(R"({"type": "string"})");
}

}  // namespace

void describe(Fields& fields, RunOptions& options) {
  fields.text("name", options.name, "Name of the run; by default the config file's name.")
      .also_called({"run_name", "experiment_name", "job_name", "wandb_run_name"});
  fields
      .text("dir", options.dir, "Run folder; by default runs/NAME, relative to the current folder.")
      .also_called({"output_dir", "out_dir", "save_dir", "dump_folder", "work_dir", "run_dir"});
  fields.integer("seed", options.seed, "Seed of weights, data order and random choices.")
      .at_least(0)
      .also_called({"random_seed", "manual_seed"});
  fields
      .custom(
          "resume", "auto | never | must | checkpoint",
          [&options](const Value& value) {
            read_word_or_path(value, kResumeWords, options.resume);
          },
          [&options] { return Value::of_text(options.resume); },
          "Go on from a checkpoint: when there is one, never (an old folder is set aside), always, "
          "or from this one.")
      .also_called({"resume_from_checkpoint", "load", "auto_resume", "load_checkpoint"})
      .with_schema(R"({"type": "string"})");
  fields
      .custom(
          "init_from", "none | checkpoint | run",
          [&options](const Value& value) {
            read_word_or_path(value, kInitWords, options.init_from);
          },
          [&options] { return Value::of_text(options.init_from); },
          "Start from these weights and router biases with a fresh optimizer, unless the run goes "
          "on.")
      .also_called({"pretrained", "from_pretrained", "model_name_or_path", "finetune",
                    "initial_load_path", "pretrained_checkpoint"})
      .with_schema(R"({"type": "string"})");
  fields
      .choice("device", options.device, {"auto", "cpu", "cuda"},
              "Where the run computes; auto = a GPU where there is one.")
      .also_spelled({{"gpu", "cuda"}, {"cuda:0", "cuda"}})
      .also_called({"accelerator", "device_type"});
  fields
      .integer_or(
          "threads", options.threads, "auto",
          "Threads of each rank; auto = OMP_NUM_THREADS, else cores / ranks on this machine.")
      .at_least(1)
      .also_called({"num_threads", "num_workers"});
}

void describe(Fields& fields, ParallelOptions& options) {
  fields
      .integer_or("expert", options.expert, "auto",
                  "Ranks that share one set of experts; auto = greatest common divisor of ranks "
                  "and num_experts.")
      .at_least(1)
      .also_called({"expert_model_parallel_size", "expert_parallel_size", "expert_parallel_degree",
                    "ep_size", "ep", "moe_expert_parallel_size"});
  fields
      .choice("comm", options.comm, {"auto", "mpi", "nccl", "thread", "local"},
              "How the ranks talk to each other.")
      .also_called({"backend", "distributed_backend", "ddp_backend"})
      .also_spelled({{"gloo", "mpi"}, {"threads", "thread"}});
}

void describe(Fields& fields, TrainOptions& options) {
  fields.integer("steps", options.steps, "Optimizer steps.")
      .at_least(1)
      .also_called({"max_steps", "max_iters", "train_iters", "num_steps", "total_steps",
                    "num_train_steps", "training_steps", "iterations", "max_train_steps"});
  fields
      .integer("sequences_per_step", options.sequences_per_step,
               "Sequences of an optimizer step over all ranks; a multiple of micro_sequences.")
      .at_least(1)
      .also_called({"global_batch_size", "batch_size", "train_batch_size", "total_batch_size"});
  fields
      .integer("micro_sequences", options.micro_sequences,
               "Sequences of a micro-batch over all ranks; sequences_per_step / micro_sequences "
               "are accumulated.")
      .at_least(1)
      .also_called({"micro_batch_size", "per_device_train_batch_size", "local_batch_size",
                    "gradient_accumulation_steps", "train_micro_batch_size_per_gpu", "accumulation",
                    "grad_accum_steps", "device_batch_size"});
  fields
      .integer_or("sequence_length", options.sequence_length, "auto",
                  "Tokens of a training sequence; auto = model.max_seq_len.")
      .at_least(1)
      .at_most(kMaxPositions)
      .also_called({"seq_len", "seq_length", "context_size"});
  fields
      .choice("precision", options.precision, {"fp32", "fp64", "bf16"},
              "Numbers of the computation; bf16 keeps fp32 weights in the optimizer.")
      .also_called({"dtype", "torch_dtype", "mixed_precision", "mixed_precision_param"})
      .also_spelled({{"float32", "fp32"},
                     {"float", "fp32"},
                     {"32", "fp32"},
                     {"float64", "fp64"},
                     {"double", "fp64"},
                     {"bfloat16", "bf16"},
                     {"float16", "bf16"},
                     {"fp16", "bf16"}});
  fields
      .choice("recompute", options.recompute, {"none", "full"},
              "Recompute the layers' activations in the backward pass.")
      .also_called({"gradient_checkpointing", "activation_checkpointing", "recompute_granularity",
                    "activation_checkpoint"})
      .also_spelled({{"true", "full"}, {"false", "none"}});
  fields
      .choice("on_nan", options.on_nan, {"abort", "skip"},
              "What a loss or gradient that is not finite does to the run.")
      .also_called({"check_for_nan_in_loss", "nan_policy", "skip_nan"});
  folder_or_none(fields, "record_routing", options.record_routing, /*input=*/false,
                 "Folder that each training step's assignments are written to.")
      .also_called({"moe_router_trace"});
  folder_or_none(fields, "replay_routing", options.replay_routing, /*input=*/true,
                 "Folder of recorded assignments that replace the routers' in training.")
      .also_called({"router_replay", "moe_router_replay"});
}

void describe(Fields& fields, EvalOptions& options) {
  fields
      .integer("every", options.every,
               "Steps between evaluations, which also follow the last step; 0 = never.")
      .at_least(0)
      .also_called(
          {"eval_interval", "eval_steps", "eval_every", "val_interval", "validation_interval"});
  fields.integer("sequences", options.sequences, "Validation sequences of an evaluation.")
      .at_least(1)
      .also_called({"eval_iters", "eval_batches", "num_eval_sequences"});
}

void describe(Fields& fields, CheckpointOptions& options) {
  fields
      .integer("every", options.every,
               "Steps between checkpoints, which also follow the last step; 0 = never.")
      .at_least(0)
      .also_called(
          {"save_interval", "save_steps", "save_every", "checkpoint_interval", "interval"});
  fields.integer("keep", options.keep, "Newest checkpoints that stay on disk.")
      .at_least(1)
      .also_called({"save_total_limit", "keep_latest_k", "max_checkpoints", "keep_last"});
}

void describe(Fields& fields, LogOptions& options) {
  fields.integer("every", options.every, "Steps between logged steps; 0 = never.")
      .at_least(0)
      .also_called({"log_interval", "logging_steps", "log_freq", "log_every"});
  fields.flag("tensorboard", options.tensorboard, "Write TensorBoard events.")
      .also_called({"enable_tensorboard", "use_tensorboard", "tensorboard_dir"});
}

}  // namespace switchyard
