#include "trainers/eval_job.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/checkpoint/file_ops.h"
#include "core/config/fields.h"
#include "core/config/layers.h"
#include "core/config/sources.h"
#include "core/metrics/console_sink.h"
#include "core/metrics/jsonl_sink.h"
#include "core/metrics/summary.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "trainers/run/checkpoint_manager.h"
#include "trainers/step/evaluator.h"

namespace switchyard {
namespace {

bool gives_data(const std::vector<std::string>& overrides) {
  return std::any_of(overrides.begin(), overrides.end(), [](const std::string& text) {
    return text.starts_with("data.paths") || text.starts_with("data.domains");
  });
}

// Documents of one length are one sequence each where the model can take it, so that every token
// but the first is scored.
void fit_sequences(const Origins& origins, TrainConfig& config) {
  const DocumentOptions& documents = config.data.documents;
  if (documents.kind != DocumentOptions::Kind::kLength || origins.find("train.sequence_length"))
    return;
  if (documents.length - 1 <= config.model.max_seq_len)
    config.train.sequence_length = documents.length - 1;
}

// The checkpoint's config with the overrides; the vocabulary stays that of the weights.
TrainConfig config_of(const EvalJob& job, const VerifiedCheckpoint& checkpoint, int num_ranks) {
  TrainConfig config = saved_config(checkpoint);
  Origins origins;
  apply_layer(*Fields::bind(config), parse_overrides(job.overrides), origins);
  // Data given here is not split: all of it is evaluated.
  if (gives_data(job.overrides)) {
    if (config.data.validation_files.empty()) config.data.validation = 1;
    fit_sequences(origins, config);
  }
  if (!origins.find("parallel.expert")) config.parallel.expert.reset();  // that of other ranks
  const Manifest::Tensor* embedding = checkpoint.manifest.find("embedding");
  if (!embedding) throw CheckpointError(checkpoint.folder + ": holds no tensor `embedding`");
  config.model.vocab_size = embedding->shape.at(0);
  config.train.micro_sequences = std::max<int64_t>(config.train.micro_sequences, num_ranks);
  config.train.sequences_per_step = config.train.micro_sequences;
  with_marks(origins, [&] { validate(config); });
  return config;
}

EvalSet set_of(const EvalJob& job, const TrainConfig& config) {
  // Files are evaluated whole; synthetic data has no end.
  const int64_t validation =
      config.data.type == "synthetic" ? config.eval.sequences : std::numeric_limits<int64_t>::max();
  if (job.split == "validation") return {.validation = validation};
  if (job.split == "train") return {.training = config.eval.sequences};
  return {.validation = validation, .training = config.eval.sequences};
}

}  // namespace

EvalReport run_eval(const EvalJob& job, Communicator& world) {
  SystemFileOps files;
  const VerifiedCheckpoint checkpoint = open_checkpoint(world, files, job.run_or_checkpoint);
  const TrainConfig config = config_of(job, checkpoint, world.size());
  const auto training = build_training(config, world, job.device);
  load_checkpoint(world, files, checkpoint, model_state(*training), ExtraTensors::kIgnore);
  training->step = checkpoint.manifest.metadata.step;
  const EvalSet set = set_of(job, config);
  if (set.training == 0 &&
      training->source->num_validation_sequences(config.sequence_length()) == 0)
    throw DataError(
        "data.validation: 0 leaves nothing to evaluate; allowed: data.validation > 0, --split "
        "train, or data given here");
  return evaluate(*training, set);
}

std::string eval_table(const EvalReport& report) {
  std::string text = fmt::format("step {}, {} sequences, {} scored tokens\n\n", report.step,
                                 report.sequences, report.tokens);
  text += fmt::format("{:<24} {:.4f}\n{:<24} {:.3f}\n", "nll (nats/token)", report.nll,
                      "perplexity", std::exp(report.nll));
  if (report.nll_token_choice)
    text += fmt::format("{:<24} {:.4f}\n", "nll, token choice", *report.nll_token_choice);
  if (report.nll_whole_batch)
    text += fmt::format("{:<24} {:.4f}\n", "nll, whole batch", *report.nll_whole_batch);
  if (report.bits_per_byte)
    text += fmt::format("{:<24} {:.4f}\n", "bits/byte", *report.bits_per_byte);
  if (report.excess_loss)
    text += fmt::format("{:<24} {:.4f}\n", "excess_loss", *report.excess_loss);
  if (report.excess_loss_h0)
    text += fmt::format("{:<24} {:.4f}\n", "excess_loss_h0", *report.excess_loss_h0);
  text += "\nnll by domain\n";
  for (const auto& [domain, nll] : report.nll_by_domain)
    text += fmt::format("  {:<22} {:.4f}\n", domain, nll);
  if (!report.moe.empty()) text += "\nrouting, one column per MoE layer\n";
  for (const auto& [name, values] : report.moe) {
    text += fmt::format("  {:<30}", name);
    for (const double value : values) text += fmt::format(" {:>9.4g}", value);
    text += "\n";
  }
  return text;
}

std::string eval_json(const EvalReport& report) {
  return json_line_with_tables(report);
}

}  // namespace switchyard
