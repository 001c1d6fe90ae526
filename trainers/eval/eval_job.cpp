#include "trainers/eval/eval_job.h"

#include <algorithm>
#include <limits>

#include "core/base/error.h"
#include "core/checkpoint/file_ops.h"
#include "core/config/fields.h"
#include "core/config/layers.h"
#include "core/config/sources.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "trainers/eval/routing_history.h"
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
  // Synthetic data has no end, and a history holds the experts of all its tokens.
  const bool whole = config.data.type != "synthetic" && (!job.history || gives_data(job.overrides));
  const int64_t validation = whole ? std::numeric_limits<int64_t>::max() : config.eval.sequences;
  if (job.split == "validation") return {.validation = validation};
  if (job.split == "train") return {.training = config.eval.sequences};
  return {.validation = validation, .training = config.eval.sequences};
}

std::unique_ptr<Training> build(const EvalJob& job, const TrainConfig& config,
                                Communicator& world) {
  auto training = build_training(config, world, job.device);
  if (set_of(job, config).training == 0 &&
      training->source->num_validation_sequences(config.sequence_length()) == 0)
    throw DataError(
        "data.validation: 0 leaves nothing to evaluate; allowed: data.validation > 0, --split "
        "train, or data given here");
  return training;
}

EvalReport evaluate_checkpoint(const EvalJob& job, const VerifiedCheckpoint& checkpoint,
                               Training& training, Choices* choices = nullptr) {
  SystemFileOps files;
  load_checkpoint(*training.world, files, checkpoint, model_state(training), ExtraTensors::kIgnore);
  training.step = checkpoint.manifest.metadata.step;
  return evaluate(training, set_of(job, training.config), choices);
}

// The newest first: all others are compared with it. A run that goes on may delete an old one
// meanwhile.
void evaluate_all(const EvalJob& job, const std::vector<VerifiedCheckpoint>& checkpoints,
                  Training& training, EvalResult& result) {
  Choices last;
  EvalReport last_report = evaluate_checkpoint(job, checkpoints.back(), training, &last);
  RoutingHistory history(*training.world, last);
  for (size_t i = 0; i + 1 < checkpoints.size(); ++i) {
    Choices choices;
    try {
      result.reports.push_back(evaluate_checkpoint(job, checkpoints[i], training, &choices));
    } catch (const Error& error) {
      if (error.code() != ExitCode::kIoFailure && error.code() != ExitCode::kBadInput) throw;
      result.notices.push_back(fmt::format("WARNING: skipped a checkpoint: {}", error.what()));
      continue;
    }
    history.describe(std::move(choices), result.reports.back());
  }
  history.describe(std::move(last), last_report);
  result.reports.push_back(std::move(last_report));
}

}  // namespace

EvalResult run_eval(const EvalJob& job, Communicator& world) {
  SystemFileOps files;
  std::vector<VerifiedCheckpoint> checkpoints;
  if (job.history)
    checkpoints = open_checkpoints(world, files, job.run_or_checkpoint);
  else
    checkpoints.push_back(open_checkpoint(world, files, job.run_or_checkpoint));
  const auto training = build(job, config_of(job, checkpoints.back(), world.size()), world);
  EvalResult result{.is_history = job.history};
  for (const VerifiedCheckpoint& checkpoint : checkpoints)
    result.notices.insert(result.notices.end(), checkpoint.notices.begin(),
                          checkpoint.notices.end());
  if (job.history)
    evaluate_all(job, checkpoints, *training, result);
  else
    result.reports.push_back(evaluate_checkpoint(job, checkpoints.front(), *training));
  return result;
}

}  // namespace switchyard
