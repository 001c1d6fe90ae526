#include "launch/commands/command.h"
#include "trainers/config/config_commands.h"

namespace switchyard {
namespace {

struct Arguments {
  std::string first, second, key;
  std::vector<std::string> overrides;
};
using ArgumentsPtr = std::shared_ptr<Arguments>;

CLI::App& add_file_command(CLI::App& group, const std::string& name, const std::string& help,
                           const ArgumentsPtr& arguments) {
  CLI::App& command = *group.add_subcommand(name, help);
  command.add_option("config", arguments->first, "a YAML file")->required();
  add_overrides(command, arguments->overrides);
  return command;
}

LoadedConfig load(const Arguments& arguments) {
  return load_config(arguments.first, arguments.overrides, shipped_configs());
}

// Every config command prints a text.
void run(CLI::App& command, Command& chosen, std::function<std::string()> text) {
  command.callback([&chosen, text = std::move(text)] {
    chosen = [text] {
      fmt::print("{}", text());
      return ExitCode::kDone;
    };
  });
}

}  // namespace

void add_config_command(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("config", "Checks, shows and explains configs");
  group.require_subcommand(1);
  const auto arguments = std::make_shared<Arguments>();

  run(add_file_command(group, "check", "Checks a file; exit 2 with the place of the first problem",
                       arguments),
      chosen, [arguments] { return config_check_text(load(*arguments), arguments->first); });
  run(add_file_command(group, "show", "Prints the resolved config, each value with its origin",
                       arguments),
      chosen, [arguments] { return config_show_text(load(*arguments)); });

  CLI::App& explain = *group.add_subcommand("explain", "Explains one key, a block, or all keys");
  explain.add_option("key", arguments->key, "a key path, such as moe.router.type");
  run(explain, chosen, [arguments] { return config_explain_text(arguments->key); });

  CLI::App& diff = *group.add_subcommand("diff", "Lists the values in which two files differ");
  diff.add_option("a", arguments->first, "a YAML file")->required();
  diff.add_option("b", arguments->second, "a YAML file")->required();
  run(diff, chosen, [arguments] {
    return config_diff_text(load_config(arguments->first, {}, shipped_configs()),
                            load_config(arguments->second, {}, shipped_configs()));
  });

  CLI::App& schema = *group.add_subcommand("schema", "Prints the JSON Schema of config files");
  run(schema, chosen, [] { return config_schema_text(); });
  CLI::App& tables =
      *group.add_subcommand("tables", "Prints the key tables of the docs (Markdown)");
  run(tables, chosen, [] { return config_tables_text(); });
}

}  // namespace switchyard
