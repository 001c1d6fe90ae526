#include "core/moe/options/read_count.h"

#include <fmt/format.h>

namespace switchyard {

int64_t read_count(const Value& value, int64_t lowest, int64_t highest) {
  const int64_t count = value.as_integer();
  if (count < lowest || count > highest)
    value.fail(fmt::format("{} is out of range; allowed: integer ≥ {}{}", value.shown(), lowest,
                           highest == INT64_MAX ? "" : fmt::format(" and ≤ {}", highest)));
  return count;
}

}  // namespace switchyard
