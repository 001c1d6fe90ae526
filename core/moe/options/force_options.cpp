#include "core/moe/options/force_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/config/nearest.h"

namespace switchyard {

const char* const kForceForms = "none | uniform | round_robin | {zipf: number ≥ 0} | one";
const char* const kForceSchema =
    R"({"anyOf": [{"enum": ["none", "uniform", "round_robin", "one"]}, {"type": "object",
    "properties": {"zipf": {"type": "number", "minimum": 0}}, "required": ["zipf"], "additionalProperties": false}]})";

ForceOptions read_force(const Value& value) {
  if (value.is_map()) {
    for (const auto& [key, child] : value.map)
      if (key != "zipf") child.fail_key("unknown key" + suggestion(key, {"zipf"}));
    if (value.map.empty()) value.fail(fmt::format("{{}} is not a law; allowed: {}", kForceForms));
    const Value& exponent = value.map[0].second;
    if (exponent.as_number() < 0)
      exponent.fail(fmt::format("{} is out of range; allowed: number ≥ 0", exponent.shown()));
    return {"zipf", exponent.as_number()};
  }
  const std::vector<std::string> words = {"none", "uniform", "round_robin", "one"};
  if (!value.is_scalar() || std::find(words.begin(), words.end(), value.scalar) == words.end())
    value.fail(fmt::format("{} is not a law{}, {{zipf: a}}", value.shown(),
                           suggestion(value.is_scalar() ? value.scalar : "", words)));
  return {value.scalar, 0};
}

Value print_force(const ForceOptions& options) {
  if (options.law != "zipf") return Value::of_word(options.law);
  return Value::of_map({{"zipf", Value::of_number(options.exponent)}});
}

}  // namespace switchyard
