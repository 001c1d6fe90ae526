#include "trainers/config/config_commands.h"

#include <fmt/format.h>

#include "core/config/fields.h"
#include "core/config/forms.h"
#include "core/config/nearest.h"

namespace switchyard {
namespace {

Value present(const LoadedConfig& loaded) {
  TrainConfig config = loaded.config;
  return Fields::bind(config)->present();
}

}  // namespace

std::string config_check_text(const LoadedConfig& loaded, const std::string& path) {
  std::string text = fmt::format("{}: ok\n", one_line(path));
  for (const std::string& note : loaded.notes) text += fmt::format("note: {}\n", one_line(note));
  return text;
}

std::string config_show_text(const LoadedConfig& loaded) {
  return resolved_yaml(loaded);
}

std::string config_explain_text(const std::string& key) {
  TrainConfig defaults;
  return explain(*Fields::bind(defaults), key);
}

std::string config_diff_text(const LoadedConfig& a, const LoadedConfig& b) {
  const std::string text = diff(present(a), present(b));
  return text.empty() ? "no differences\n" : text;
}

std::string config_schema_text() {
  TrainConfig defaults;
  return json_schema(*Fields::bind(defaults));
}

std::string config_tables_text() {
  TrainConfig defaults;
  return key_tables(*Fields::bind(defaults));
}

}  // namespace switchyard
