#pragma once

#include <string>

#include "core/config/fields.h"
#include "core/config/value.h"

namespace switchyard {

/// The resolved config as YAML, every value with its origin as a comment. Reading it back gives the
/// same config.
std::string resolved_yaml(const Fields& root, const Origins& origins);

/// What one key is: type, default, help, which types own it, other programs' names; for a block
/// also its keys. `path` as in an error: "moe.router.groups", "moe.balance[].coef" or
/// "moe.balance.coef". "" = all keys. Throws ConfigError with the nearest key. `root` must be bound
/// to defaults.
std::string explain(const Fields& root, const std::string& path);

/// JSON Schema (draft 2020-12) of config files, for editors. `root` must be bound to defaults.
std::string json_schema(const Fields& root);

/// Markdown: one table for each block, with the columns key, allowed, default, meaning. `root` must
/// be bound to defaults.
std::string key_tables(const Fields& root);

/// One line for each key whose value differs: "key: a → b", "key: a → (none)". "" where none does.
std::string diff(const Value& a, const Value& b);

}  // namespace switchyard
