#pragma once

#include <cstdint>

#include "core/config/value.h"

namespace switchyard {

/// The integer of a value with a form of its own, from `lowest` to `highest`; ConfigError at the
/// value.
int64_t read_count(const Value& value, int64_t lowest, int64_t highest = INT64_MAX);

}  // namespace switchyard
