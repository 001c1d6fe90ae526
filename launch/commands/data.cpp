#include "core/data/inspect.h"
#include "launch/commands/command.h"

namespace switchyard {

void add_data_command(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("data", "Shows the data of a config");
  group.require_subcommand(1);
  CLI::App& command = *group.add_subcommand(
      "inspect", "Domains, tokens, sequences, validation share and a sample of each domain");
  command.footer("Example: switchyard data inspect configs/text_domains.yaml");
  const auto config = std::make_shared<std::string>();
  const auto overrides = std::make_shared<std::vector<std::string>>();
  command.add_option("config", *config, "a YAML file")->required();
  add_overrides(command, *overrides);
  command.callback([&chosen, config, overrides] {
    chosen = [config, overrides] {
      const TrainConfig loaded = load_config(*config, *overrides, shipped_configs()).config;
      SourceContext context;
      context.run_seed = static_cast<uint64_t>(loaded.run.seed);
      context.sequences_per_step = loaded.train.sequences_per_step;
      context.micro_sequences = loaded.train.micro_sequences;
      context.sequence_length = loaded.sequence_length();
      context.vocab_size = loaded.model.vocab_size;
      fmt::print("{}", inspect_data(loaded.data, context));
      return ExitCode::kDone;
    };
  });
}

}  // namespace switchyard
