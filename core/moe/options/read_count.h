#pragma once

#include <cstdint>

#include "core/config/value.h"

namespace switchyard {

/// The integer of a value with a form of its own, at least `lowest`; ConfigError at the value.
int64_t read_count(const Value& value, int64_t lowest);

}  // namespace switchyard
