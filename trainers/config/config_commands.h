#pragma once

#include <string>

#include "trainers/config/train_config.h"

namespace switchyard {

/// `config check`: one line that the config is good, and one line a note.
std::string config_check_text(const LoadedConfig& loaded, const std::string& path);

/// `config show`: the resolved config, each value with its origin.
std::string config_show_text(const LoadedConfig& loaded);

/// `config explain [KEY]`: one key (a block: with all its keys), or "" for every key. Throws
/// ConfigError with the nearest key.
std::string config_explain_text(const std::string& key);

/// `config diff A B`: one line for each value that differs, or one line that says that none does.
std::string config_diff_text(const LoadedConfig& a, const LoadedConfig& b);

/// `config schema`: JSON Schema (draft 2020-12) of config files.
std::string config_schema_text();

/// The key tables of docs/configuration.md.
std::string config_tables_text();

}  // namespace switchyard
