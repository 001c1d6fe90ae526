#pragma once

#include <string>
#include <vector>

#include "core/config/value.h"

namespace switchyard {

/// The files behind a config in the order in which they apply: those named by its `base:` key first
/// (one or a list, relative to the file that names them; `switchyard/moe/x` is
/// `shipped_dir`/moe/x.yaml), then the file itself, each without its `base` key. Throws ConfigError
/// for a file that is missing or not a map, and for files that include each other in a circle.
std::vector<Value> read_config_layers(const std::string& path, const std::string& shipped_dir);

/// One layer from the command line's `key.path=value` words; each value is YAML. A number in a path
/// picks an element of a list: moe.balance.0.coef=1e-2. A key given twice throws ConfigError.
Value parse_overrides(const std::vector<std::string>& overrides);

}  // namespace switchyard
