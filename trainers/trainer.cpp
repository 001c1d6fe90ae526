#include "trainers/trainer.h"

#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>

#include "core/checkpoint/file_ops.h"
#include "core/metrics/summary.h"
#include "trainers/journal.h"
#include "trainers/memory.h"
#include "trainers/run/checkpoint_manager.h"
#include "trainers/run/init_from.h"
#include "trainers/run/run_end.h"
#include "trainers/run/run_folder.h"
#include "trainers/step/evaluator.h"
#include "trainers/step/train_step.h"

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

// One process's part of a run: owns what the steps of the run are made of, decides nothing itself.
class Run {
 public:
  Run(const TrainJob& job)
      : job_(job),
        world_(*job.world),
        training_(build_training(job.loaded.config, world_, job.device)),
        given_(open_inputs()),
        folder_(world_, config().run.dir,
                config().run.resume == "never" ? OldRun::kSetAside : OldRun::kKeep),
        checkpoints_(world_, files_, folder_.checkpoints(), config().checkpoint),
        run_id_(make_run_id(world_)) {}

  ExitCode operator()() {
    const std::vector<std::string> notes = resume();
    const bool ended = training_->step >= config().train.steps;
    if (ended && repeat_summary()) return ExitCode::kDone;
    Journal journal(folder_, config(), {world_.rank(), training_->step, job_.terminal, ended});
    journal_ = &journal;
    write_config();
    for (const std::string& note : notes) journal.note(note);
    if (ended) recall_last_step();
    if (config().eval.every > 0 && !evaluates())
      journal.note(
          "the data hold no validation sequence (data.validation: 0): nothing is evaluated");
    start_ = Clock::now();
    while (training_->step < config().train.steps)
      if (!advance()) return ExitCode::kTryAgain;
    if (!last_eval_ || last_eval_->step != training_->step) evaluate_now();
    finish();
    return ExitCode::kDone;
  }

 private:
  const TrainConfig& config() const { return training_->config; }

  // What the run reads beside its data is opened, and refused, before its folder changes. A run
  // that starts in any case takes its weights here, too.
  std::vector<std::string> open_inputs() {
    training_->trace =
        open_trace_folder(files_, world_, config(), training_->source->fingerprint());
    return config().run.resume == "never" ? take_weights() : std::vector<std::string>();
  }

  std::vector<std::string> take_weights() {
    if (config().run.init_from == "none") return {};
    return init_from(world_, files_, config().run.init_from, config(), model_state(*training_));
  }

  // Returns what the user should read once the journal is open.
  std::vector<std::string> resume() {
    std::vector<std::string> notes = job_.loaded.notes;
    const auto checkpoint = checkpoints_.find(config().run.resume);
    if (checkpoint) {
      const auto changes = check_resume(*checkpoint, config(), training_->source->fingerprint());
      start_trace(checkpoint->manifest.metadata.step);
      checkpoints_.load(*checkpoint, training_state(*training_));
      adopt_counters(*training_);
      resumed_hash_ = checkpoint->manifest.state_hash();
      const auto& numbers = checkpoint->manifest.metadata.numbers;
      if (const auto wall = numbers.find("wall_s"); wall != numbers.end()) earlier_ = wall->second;
      notes.push_back(fmt::format("resumed from step {} of {}", training_->step, folder_.path()));
      notes.insert(notes.end(), changes.begin(), changes.end());
    } else {
      start_trace(0);
      const auto given = config().run.resume == "never" ? given_ : take_weights();
      notes.insert(notes.end(), given.begin(), given.end());
    }
    if (!folder_.set_aside().empty())
      notes.push_back("the earlier run was set aside as " + folder_.set_aside());
    const auto notices = checkpoints_.take_notices();
    notes.insert(notes.end(), notices.begin(), notices.end());
    return notes;
  }

  void start_trace(int64_t step) {
    if (training_->trace && step < config().train.steps) training_->trace->start(step);
  }

  void write_config() {
    if (world_.rank() == 0) {
      std::ofstream file(folder_.config());
      file << resolved_yaml(job_.loaded);
      if (!file) throw IoError(folder_.config() + " cannot be written");
    }
  }

  // One step and what follows it. False when the run was asked to stop.
  bool advance() {
    StepReport report = train_step(*training_);
    if (report.skipped && config().train.on_nan == "abort") abort_run(report);
    report.wall_s = wall();
    report.memory_bytes = peak_memory_of_largest_rank(world_);
    last_ = report;
    trained_tokens_ +=
        static_cast<double>(config().train.sequences_per_step * config().sequence_length());
    trained_s_ += 1e-3 * report.step_ms;
    journal_->on_step(report);
    const int64_t every = config().eval.every;
    if (every > 0 && report.step % every == 0 && report.step < config().train.steps) evaluate_now();
    const auto [save, stop] = agree_on_requests();
    if (checkpoints_.due(report.step, config().train.steps, save || stop)) save_now();
    if (stop && report.step < config().train.steps) {
      journal_->note(fmt::format("saved and stopped at step {} on request", report.step));
      return false;
    }
    return true;
  }

  // Signals reach ranks at different moments; what one has seen counts for all.
  std::pair<bool, bool> agree_on_requests() {
    StopRequests& requests = *job_.requests;
    at::Tensor flags = at::zeros({2}, at::kLong);
    flags[0] = static_cast<int64_t>(requests.save.exchange(false));
    flags[1] = static_cast<int64_t>(requests.stop.load());
    world_.all_reduce({flags}, ReduceOp::kMax)->wait();
    return {flags[0].item<int64_t>() != 0, flags[1].item<int64_t>() != 0};
  }

  [[noreturn]] void abort_run(const StepReport& report) {
    if (checkpoints_.due(training_->step, config().train.steps, true)) save_now();
    throw NumericError(fmt::format(
        "step {}: loss {} and gradient norm {} are not both finite; the state before it is "
        "saved in {} (train.on_nan: abort; skip goes on without the update)",
        training_->step + 1, report.loss, report.grad_norm, folder_.checkpoints()));
  }

  void save_now() {
    stage_counters(*training_);
    CheckpointMetadata metadata;
    metadata.step = training_->step;
    metadata.run_id = run_id_;
    metadata.config = resolved_yaml(job_.loaded);
    metadata.fingerprint = training_->source->fingerprint();
    metadata.topology = {{"ranks", std::to_string(world_.size())},
                         {"expert_axis", std::to_string(training_->mesh->expert_size())},
                         {"threads", std::to_string(torch::get_num_threads())},
                         {"backend", world_.backend()}};
    metadata.numbers = {{"wall_s", wall()}};
    checkpoints_.save(training_state(*training_), metadata);
    for (const std::string& notice : checkpoints_.take_notices()) journal_->note(notice);
  }

  bool evaluates() const {
    return config().eval.every > 0 &&
           training_->source->num_validation_sequences(config().sequence_length()) > 0;
  }

  void evaluate_now() {
    if (!evaluates()) return;
    const int64_t balanced =
        training_->source->num_balanced_validation_sequences(config().sequence_length());
    last_eval_ = evaluate(*training_, {.validation = std::min(config().eval.sequences, balanced)});
    journal_->on_eval(*last_eval_);
    const Summary now = summary();
    if (world_.rank() == 0) write_summary(folder_.summary(), now);
  }

  Summary summary() {
    stage_counters(*training_);
    Summary summary;
    summary.steps = training_->step;
    summary.tokens = training_->tokens;
    summary.train_nll = last_.nll;
    summary.eval = last_eval_;
    summary.drop_rate = layer_mean(last_.moe, "drop_rate").value_or(0);
    const ModelSize size = model_size(config());
    summary.params_total = size.total;
    summary.params_active = size.active;
    summary.flops_per_token = size.flops_per_token;
    summary.tokens_per_s = trained_s_ > 0 ? trained_tokens_ / trained_s_ : last_.tokens_per_s;
    summary.peak_rss_mb = peak_memory_of_largest_rank(world_) / (1 << 20);
    summary.ranks = world_.size();
    summary.state_hash = state_hash(world_, training_state(*training_));
    return summary;
  }

  void finish() {
    const Summary end = summary();
    if (world_.rank() == 0) write_summary(folder_.summary(), end);
    journal_->on_finish(end);
  }

  // A run that has already finished shows its summary again: every rank does, or none.
  bool repeat_summary() {
    std::string text;
    if (world_.rank() == 0)
      text = final_summary(folder_.summary(), {training_->step, resumed_hash_, evaluates()});
    text = broadcast_text(world_, text);
    if (text.empty()) return false;
    if (world_.rank() == 0)
      std::cout << "this run has finished; run.resume=never starts it anew\n" << text;
    return true;
  }

  // A run that was stopped between its last checkpoint and its summary has no step left to take
  // the summary's numbers from.
  void recall_last_step() {
    journal_->note(fmt::format("step {} was the last one, its summary is not written: {}",
                               training_->step, evaluates() ? "evaluates" : "finishes"));
    if (world_.rank() != 0) return;
    const LastStep last = logged_step(folder_.metrics(), training_->step);
    last_.nll = last.nll;
    last_.tokens_per_s = last.tokens_per_s;
    last_.moe["drop_rate"] = {last.drop_rate};
  }

  double wall() const {
    return earlier_ + std::chrono::duration<double>(Clock::now() - start_).count();
  }

  const TrainJob& job_;
  Communicator& world_;
  SystemFileOps files_;
  std::unique_ptr<Training> training_;
  std::vector<std::string> given_;  // notes of run.init_from, where it was taken before the folder
  RunFolder folder_;
  CheckpointManager checkpoints_;
  std::string run_id_;
  std::string resumed_hash_;  // of the state that the run goes on from
  Journal* journal_ = nullptr;
  Clock::time_point start_ = Clock::now();
  double earlier_ = 0, trained_tokens_ = 0, trained_s_ = 0;
  StepReport last_;
  std::optional<EvalReport> last_eval_;
};

// Goes where a start would go, as far as it only reads.
void check_start(Training& training) {
  SystemFileOps files;
  Communicator& world = *training.world;
  const TrainConfig& config = training.config;
  const std::string data = training.source->fingerprint();
  const auto checkpoint =
      find_resumed(world, files, config.run.dir + "/checkpoints", config.run.resume);
  if (checkpoint) {
    check_resume(*checkpoint, config, data);
    load_checkpoint(world, files, *checkpoint, training_state(training));
  } else if (config.run.init_from != "none") {
    init_from(world, files, config.run.init_from, config, model_state(training));
  }
  check_trace_folder(files, world, config, data,
                     checkpoint ? checkpoint->manifest.metadata.step : 0);
}

}  // namespace

ExitCode train(const TrainJob& job) {
  check_ranks(job.loaded, job.world->size());
  return Run(job)();
}

std::string dry_run(const TrainJob& job) {
  check_ranks(job.loaded, job.world->size());
  const auto training = build_training(job.loaded.config, *job.world, job.device);
  check_start(*training);
  const ModelSize size = model_size(training->config);
  const double weights =
      static_cast<double>(training->dense->data.numel() + training->experts->data.numel());
  const double bytes = 4.0 * weights * static_cast<double>(training->dense->data.element_size());
  const double step_tokens = static_cast<double>(training->config.train.sequences_per_step *
                                                 training->config.sequence_length());
  return fmt::format(
      "parameters    {} ({} used per token)\n"
      "FLOPs         {:.3g} per token, {:.3g} per step\n"
      "tokens        {:.0f} per step, {:.0f} in all\n"
      "ranks         {} in groups of {} that share one set of experts\n"
      "memory        {:.1f} MiB on this rank for weights, gradients and optimizer\n"
      "data          {} domain(s), vocabulary {}\n",
      size.total, size.active, size.flops_per_token, size.flops_per_token * step_tokens,
      step_tokens, step_tokens * static_cast<double>(training->config.train.steps),
      job.world->size(), training->mesh->expert_size(), bytes / (1 << 20),
      training->source->domains().size(), *training->config.model.vocab_size);
}

}  // namespace switchyard
