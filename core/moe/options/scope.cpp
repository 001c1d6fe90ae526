#include "core/moe/options/scope.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/nearest.h"
#include "core/moe/options/read_count.h"

namespace switchyard {

void read_scope(const Value& value, const std::vector<std::string>& words, std::string& scope,
                int64_t& sequences) {
  if (value.is_map()) {
    for (const auto& [key, child] : value.map)
      if (key != "sequences") child.fail_key("unknown key" + suggestion(key, {"sequences"}));
    if (value.map.empty())
      value.fail(fmt::format("{{}} is not a scope; allowed: {}", scope_forms(words)));
    sequences = read_count(value.map[0].second, 1);
    scope = "sequences";
    return;
  }
  if (!value.is_scalar() || std::find(words.begin(), words.end(), value.scalar) == words.end())
    value.fail(value.shown() + " is not a scope" +
               suggestion(value.is_scalar() ? value.scalar : "", words) + ", {sequences: n}");
  scope = value.scalar;
  sequences = 0;
}

Value print_scope(const std::string& scope, int64_t sequences) {
  if (scope != "sequences") return Value::of_word(scope);
  return Value::of_map({{"sequences", Value::of_integer(sequences)}});
}

std::string scope_forms(const std::vector<std::string>& words) {
  return join(words, " | ") + " | {sequences: n}";
}

std::string scope_schema(const std::vector<std::string>& words) {
  return fmt::format(
      R"({{"anyOf": [{{"enum": ["{}"]}}, {{"type": "object", "properties":
      {{"sequences": {{"type": "integer", "minimum": 1}}}}, "required": ["sequences"], "additionalProperties": false}}]}})",
      join(words, "\", \""));
}

}  // namespace switchyard
