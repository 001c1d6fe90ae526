#include <algorithm>
#include <fstream>
#include <iterator>

#include "core/config/fields.h"
#include "core/config/layers.h"
#include "core/config/nearest.h"
#include "core/config/sources.h"
#include "launch/commands/command.h"
#include "trainers/config/train_config.h"
#include "trainers/eval/eval_job.h"
#include "trainers/eval/eval_text.h"

namespace switchyard {
namespace {

struct Arguments {
  EvalJob job;
  std::string json;
};

// What the overrides say of the world to run in. The rest of the config comes with the checkpoint.
WorldRequest request_of(const std::vector<std::string>& overrides) {
  std::vector<std::string> ours;
  std::copy_if(overrides.begin(), overrides.end(), std::back_inserter(ours),
               [](const std::string& word) {
                 return word.starts_with("run") || word.starts_with("parallel");
               });
  TrainConfig config;
  Origins origins;
  apply_layer(*Fields::bind(config), parse_overrides(ours), origins);
  return {config.parallel.comm, config.run.device, config.run.threads};
}

ExitCode run(const Arguments& arguments, Communicator& world, c10::Device device) {
  EvalJob job = arguments.job;
  job.device = device;
  check_output(world, "--json", arguments.json);
  const EvalResult result = run_eval(job, world);
  if (world.rank() != 0) return ExitCode::kDone;
  for (const std::string& notice : result.notices) fmt::print(stderr, "{}\n", one_line(notice));
  fmt::print("{}", eval_table(result));
  if (arguments.json.empty()) return ExitCode::kDone;
  std::ofstream file(arguments.json);
  file << eval_json(result);
  if (!file) throw IoError(fmt::format("{} cannot be written", arguments.json));
  return ExitCode::kDone;
}

}  // namespace

void add_eval_command(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand(
      "eval",
      "Loss per domain and routing metrics of a run's newest checkpoint (under mpirun: any "
      "number of ranks)");
  command.footer(
      "Example: switchyard eval runs/quickstart --json eval.json\n"
      "How routing settles: switchyard eval runs/quickstart --history\n"
      "Other data: switchyard eval runs/text data.type=text data.paths=[my.txt]");
  const auto arguments = std::make_shared<Arguments>();
  command.add_option("run", arguments->job.run_or_checkpoint, "a run folder or a checkpoint")
      ->required();
  command
      .add_option("--split", arguments->job.split,
                  "validation: all of it (synthetic: eval.sequences); train: the first "
                  "eval.sequences of the stream; all: both")
      ->check(CLI::IsMember({"validation", "train", "all"}))
      ->capture_default_str();
  command.add_flag("--history", arguments->job.history,
                   "every checkpoint of the run, on eval.sequences sequences (data given here: all "
                   "of them), with saturation and churn of each MoE layer");
  command.add_option("--json", arguments->json, "write the numbers to this file");
  add_overrides(command, arguments->job.overrides);
  command.callback([&chosen, arguments] {
    chosen = [arguments] {
      return with_world(
          request_of(arguments->job.overrides),
          [&](Communicator& world, c10::Device device) { return run(*arguments, world, device); });
    };
  });
}

}  // namespace switchyard
