#include <filesystem>

#include "launch/commands/command.h"
#include "trainers/trainer.h"

namespace switchyard {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool dry_run = false;
};

// A run folder stands for the config it was started with.
std::string config_file(const std::string& argument) {
  return std::filesystem::is_directory(argument) ? argument + "/config.yaml" : argument;
}

}  // namespace

void add_train_command(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand(
      "train",
      "Pre-trains a model; goes on by itself when the run folder has a checkpoint (under "
      "mpirun: one rank per process)");
  command.footer("Example: mpirun -n 2 switchyard train configs/quickstart.yaml train.steps=50");
  const auto arguments = std::make_shared<Arguments>();
  command.add_option("config", arguments->config, "a YAML file, or the folder of an earlier run")
      ->required();
  command.add_flag(
      "--dry-run", arguments->dry_run,
      "build the model, check the data and what the run starts from, print sizes and stop");
  add_overrides(command, arguments->overrides);
  command.callback([&chosen, arguments] {
    chosen = [arguments] {
      const LoadedConfig loaded =
          load_config(config_file(arguments->config), arguments->overrides, shipped_configs());
      const RunOptions& run = loaded.config.run;
      return with_world(
          {loaded.config.parallel.comm, run.device, run.threads},
          [&](Communicator& world, c10::Device device) {
            TrainJob job{loaded, &world, device, &install_signal_handlers(), output_is_terminal()};
            if (!arguments->dry_run) return train(job);
            const std::string sizes = dry_run(job);
            if (world.rank() == 0) fmt::print("{}", sizes);
            return ExitCode::kDone;
          });
    };
  });
}

}  // namespace switchyard
