#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "core/config/nearest.h"
#include "launch/commands/command.h"
#include "launch/version.h"

namespace {

constexpr const char* kFooter =
    "Exit codes: 0 done, 2 bad usage, config or data, 3 not finite, 4 failed read or write,\n"
    "70 a bug of ours or no memory left, 75 saved and stopped on request: start again.\n"
    "Example: mpirun -n 2 switchyard train configs/quickstart.yaml optim.lr=1e-3";

/// What is wrong with the command line, with the nearest command where its name is.
std::string usage_problem(const CLI::App& app, const CLI::ParseError& error, int argc,
                          char** argv) {
  if (argc < 2 || argv[1][0] == '-' || !app.get_subcommands().empty()) return error.what();
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return fmt::format("unknown command `{}`{}", argv[1], switchyard::suggestion(argv[1], names));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace switchyard;
  CLI::App app("Switchyard pre-trains small Mixture-of-Experts language models.", "switchyard");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text);
  Command chosen;
  for (const auto add :
       {add_train_command, add_eval_command, add_route_command, add_data_command, add_ckpt_command,
        add_config_command, add_doctor_command, add_bench_command})
    add(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    if (process_place().rank == 0)
      fmt::print(stderr, "error: [usage] {}; see switchyard --help\n",
                 one_line(usage_problem(app, error, argc, argv)));
    return static_cast<int>(ExitCode::kBadInput);
  }
  try {
    return static_cast<int>(chosen());
  } catch (...) {
    // Before the ranks know each other all of them meet the same error, or one alone: rank 0 speaks
    // at once, and its exit ends the others before they do.
    if (process_place().rank != 0) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    return static_cast<int>(report_error());
  }
}
