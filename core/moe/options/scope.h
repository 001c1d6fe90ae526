#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/value.h"

namespace switchyard {

/// A key that is one of `words` or {sequences: n}, which is the word "sequences" with n beside it
/// (0 for the others). ConfigError at the value.
void read_scope(const Value& value, const std::vector<std::string>& words, std::string& scope,
                int64_t& sequences);
Value print_scope(const std::string& scope, int64_t sequences);
/// What may be written, "step | sequence | {sequences: n}", and its JSON Schema.
std::string scope_forms(const std::vector<std::string>& words);
std::string scope_schema(const std::vector<std::string>& words);

}  // namespace switchyard
