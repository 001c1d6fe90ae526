#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "trainers/config/train_config.h"

namespace switchyard::config_test {

namespace fs = std::filesystem;

inline std::string shipped_configs() {
  return test::source_path() + "/configs";
}

/// A config file in a folder of its own; both vanish at the end of the test.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text, const std::string& name = "small.yaml")
      : path_(temp_.write(name, text)) {}

  const std::string& path() const { return path_; }
  std::string folder() const { return fs::path(path_).parent_path().string(); }
  LoadedConfig load(const std::vector<std::string>& overrides = {}) const {
    return load_config(path_, overrides, shipped_configs());
  }

 private:
  const test::TempFolder temp_;
  const std::string path_;
};

inline TrainConfig config_of(const std::string& text,
                             const std::vector<std::string>& overrides = {}) {
  return ConfigFile(text).load(overrides).config;
}

/// The error text without "[config] " and the folder of the file; "" where there is none.
inline std::string problem(const std::string& text,
                           const std::vector<std::string>& overrides = {}) {
  const ConfigFile file(text);
  try {
    file.load(overrides);
  } catch (const ConfigError& error) {
    std::string what = error.what();
    what.erase(0, std::string("[config] ").size());
    if (what.starts_with(file.folder() + "/")) what.erase(0, file.folder().size() + 1);
    return what;
  }
  return "";
}

/// The same for one `key.path=value` on top of a config of defaults.
inline std::string command_problem(const std::string& override_text) {
  return problem("{}", {override_text});
}

}  // namespace switchyard::config_test
