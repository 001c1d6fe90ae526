#include <ATen/Parallel.h>

#include <charconv>
#include <limits>

#include "core/config/nearest.h"
#include "launch/commands/command.h"
#include "trainers/route/route_job.h"

namespace switchyard {
namespace {

// Refuses what the parser would wrap around or cut off at the largest integer.
CLI::Validator integer(int64_t least, int64_t most = std::numeric_limits<int64_t>::max()) {
  return CLI::Validator(
      [=](const std::string& text) -> std::string {
        int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = error == std::errc() && end == text.data() + text.size();
        if (whole && value >= least && value <= most) return "";
        return fmt::format("`{}` is no integer from {} to {}", text, least, most);
      },
      least == 0 ? "NONNEGATIVE" : "POSITIVE");
}

}  // namespace

void add_route_command(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand(
      "route", "Routes recorded router logits by the moe block of a config, without a model");
  command.footer(
      "SCORES holds `logits` [tokens, experts] (F32 or F64) and perhaps `tokens`, `bias`, "
      "`noise`.\n"
      "Writes expert_ids, weights, kept, slot, counts, new_bias, term.N and term_grad.N of each\n"
      "balance term, and prints the metrics as JSON. See docs/route.md.\n"
      "Example: switchyard route scores.safetensors configs/moe/mixtral.yaml --out "
      "routed.safetensors");
  const auto job = std::make_shared<RouteJob>();
  command.add_option("scores", job->scores, "a safetensors file")->required();
  command.add_option("config", job->config, "a YAML file, of which the moe block counts")
      ->required();
  command.add_option("--out", job->out, "the safetensors file to write")->required();
  command.add_flag("--train", job->training,
                   "capacity `factor` and random choices; without: eval_factor and none");
  command.add_option("--seed", job->seed, "of the random choices; run.seed by default")
      ->check(integer(0));
  command.add_option("--step", job->step, "of the random choices and schedules")
      ->check(integer(0))
      ->capture_default_str();
  command.add_option("--layer", job->layer, "of the random choices")
      ->check(integer(0))
      ->capture_default_str();
  command
      .add_option("--sequence-length", job->sequence_length, "tokens of a sequence; all of them")
      ->check(integer(1));
  command.add_option("--ranks", job->num_ranks, "threads that share the sequences; same result")
      ->check(integer(1, 256))
      ->capture_default_str();
  add_overrides(command, job->overrides);
  command.callback([&chosen, job] {
    chosen = [job] {
      job->shipped_dir = shipped_configs();
      at::set_num_threads(1);  // the ranks are the threads
      const RouteReport report = run_route(*job);
      for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", one_line(note));
      fmt::print("{}\n", report.metrics);
      return ExitCode::kDone;
    };
  });
}

}  // namespace switchyard
