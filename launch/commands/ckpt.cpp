#include "core/checkpoint/file_ops.h"
#include "launch/commands/command.h"
#include "trainers/run/checkpoint_commands.h"

namespace switchyard {
namespace {

using Text = std::string (*)(FileOps&, const std::string&);

void add(CLI::App& group, const std::string& name, const std::string& help, Text text,
         Command& chosen) {
  CLI::App& command = *group.add_subcommand(name, help);
  const auto path = std::make_shared<std::string>();
  command.add_option("path", *path, "a run, a folder of checkpoints, or a checkpoint")->required();
  command.callback([&chosen, path, text] {
    chosen = [path, text] {
      SystemFileOps files;
      fmt::print("{}", text(files, *path));
      return ExitCode::kDone;
    };
  });
}

}  // namespace

void add_ckpt_command(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("ckpt", "Lists and verifies checkpoints");
  group.require_subcommand(1);
  add(group, "ls", "One line per checkpoint: step, size, tensors, ranks, state hash",
      checkpoint_list_text, chosen);
  add(group, "verify", "Reads every byte and checks every hash; exit 2 if anything is damaged",
      checkpoint_verify_text, chosen);
}

}  // namespace switchyard
