#include "core/config/step_value.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "core/base/error.h"

namespace switchyard {
namespace {

int64_t read_step(const std::string& key, const Value& child) {
  Value step = Value::of_word(key);
  step.mark = step.key_mark = child.key_mark;
  step.path = child.path;
  const int64_t number = step.as_integer();
  if (number < 0) step.fail(fmt::format("{} is no step; allowed: integer ≥ 0", step.shown()));
  return number;
}

}  // namespace

StepValue::StepValue(std::map<int64_t, double> pieces) : pieces_(std::move(pieces)) {
  SWITCHYARD_CHECK(!pieces_.empty() && pieces_.begin()->first == 0,
                   "a value by step must begin at step 0");
}

double StepValue::at(int64_t step) const {
  SWITCHYARD_CHECK(step >= 0, "step {}", step);
  return std::prev(pieces_.upper_bound(step))->second;
}

StepValue read_step_value(const Value& value) {
  if (!value.is_map()) return StepValue(value.as_number());
  std::map<int64_t, double> pieces;
  for (const auto& [key, child] : value.map) {
    const int64_t step = read_step(key, child);
    if (!pieces.emplace(step, child.as_number()).second)
      child.fail_key(fmt::format("step {} is given twice", step));
  }
  if (pieces.count(0) == 0)
    value.fail(fmt::format("{} has no value for step 0; allowed: {{0: number, step: number, ...}}",
                           value.shown()));
  return StepValue(std::move(pieces));
}

Value print_step_value(const StepValue& value) {
  if (value.is_constant()) return Value::of_number(value.at(0));
  std::vector<std::pair<std::string, Value>> map;
  for (const auto& [step, number] : value.pieces())
    map.emplace_back(std::to_string(step), Value::of_number(number));
  Value result = Value::of_map(std::move(map));
  result.flow = true;
  return result;
}

}  // namespace switchyard
