#include "core/checkpoint/file_ops.h"
#include "launch/commands/command.h"
#include "trainers/import/import_hf.h"
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

void add_import(CLI::App& group, Command& chosen) {
  CLI::App& command = *group.add_subcommand(
      "import",
      "Makes a Switchyard checkpoint of a Hugging Face folder (Mixtral, OLMoE, Qwen-MoE, "
      "DeepSeek, Llama)");
  command.footer("Example: switchyard ckpt import --format hf OLMoE-1B-7B imported/olmoe");
  struct Arguments {
    std::string format = "hf", folder, out;
  };
  const auto arguments = std::make_shared<Arguments>();
  command.add_option("--format", arguments->format, "layout of the folder")
      ->check(CLI::IsMember({"hf"}))
      ->capture_default_str();
  command.add_option("folder", arguments->folder, "config.json and *.safetensors")->required();
  command.add_option("out", arguments->out, "a new folder")->required();
  command.callback([&chosen, arguments] {
    chosen = [arguments] {
      SystemFileOps files;
      fmt::print("{}", import_hf(files, arguments->folder, arguments->out));
      return ExitCode::kDone;
    };
  });
}

}  // namespace

void add_ckpt_command(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("ckpt", "Lists, verifies and imports checkpoints");
  group.require_subcommand(1);
  add(group, "ls", "One line per checkpoint: step, size, tensors, ranks, state hash",
      checkpoint_list_text, chosen);
  add(group, "verify", "Reads every byte and checks every hash; exit 2 if anything is damaged",
      checkpoint_verify_text, chosen);
  add_import(group, chosen);
}

}  // namespace switchyard
