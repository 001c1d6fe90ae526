#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/base/error.h"
#include "launch/process.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// What main() runs after parsing: the chosen command's body.
using Command = std::function<ExitCode()>;

/// Each adds one subcommand to `app` and, when it is chosen, stores its body in `chosen`.
void add_train_command(CLI::App& app, Command& chosen);
void add_eval_command(CLI::App& app, Command& chosen);
void add_data_command(CLI::App& app, Command& chosen);
void add_ckpt_command(CLI::App& app, Command& chosen);
void add_config_command(CLI::App& app, Command& chosen);
void add_route_command(CLI::App& app, Command& chosen);
void add_doctor_command(CLI::App& app, Command& chosen);
void add_bench_command(CLI::App& app, Command& chosen);

/// What a command wants of the world it runs in.
struct WorldRequest {
  std::string backend = "auto";    ///< parallel.comm
  std::string device = "auto";     ///< run.device
  std::optional<int64_t> threads;  ///< run.threads
};
using WorldBody = std::function<ExitCode(Communicator& world, c10::Device device)>;

/// Starts MPI when a launcher started this process, sets threads and device, and calls `body` with
/// the world. An error on one rank ends all of them with one message.
ExitCode with_world(const WorldRequest& request, const WorldBody& body);

/// Prints "error: ..." for the exception in flight, as one line, and returns its exit code.
ExitCode report_error();

/// Collective. Refuses a file that cannot be written after the work, where that shows before: a
/// folder, or a name in none. `path` may be empty: no file is wanted.
void check_output(Communicator& world, const std::string& option, const std::string& path);

/// Options of a command that takes overrides: `key.path=value` after the other arguments.
void add_overrides(CLI::App& command, std::vector<std::string>& overrides);

}  // namespace switchyard
