#include "core/moe/options/capacity_options.h"

#include <fmt/format.h>

#include "core/config/fields.h"
#include "core/config/nearest.h"
#include "core/moe/options/scope.h"

namespace switchyard {
namespace {

const std::vector<std::string> kScopes = {"micro_batch", "sequence"};
const char* const kDynamicForms = "none | {min: n, max: n, target_drop: share}";

void read_eval_factor(const Value& value, CapacityOptions& options) {
  const bool word = value.is_scalar() && (value.scalar == "auto" || value.scalar == "none");
  const double factor = word ? 0 : value.as_number();
  if (!word && factor <= 0)
    value.fail(value.shown() + " is out of range; allowed: auto | none | number > 0");
  options.eval_dropless = word && value.scalar == "none";
  options.eval_factor = word ? std::nullopt : std::optional<double>(factor);
}

Value print_eval_factor(const CapacityOptions& options) {
  if (options.eval_factor) return Value::of_number(*options.eval_factor);
  return Value::of_word(options.eval_dropless ? "none" : "auto");
}

void read_dynamic(const Value& value, CapacityOptions& options) {
  if (value.is_scalar() && value.scalar == "none") return options.dynamic.reset();
  if (!value.is_map())
    value.fail(fmt::format("{} is not allowed; allowed: {}", value.shown(), kDynamicForms));
  DynamicCapacity read;
  const std::vector<std::pair<std::string, double*>> keys = {
      {"min", &read.min}, {"max", &read.max}, {"target_drop", &read.target_drop}};
  for (const auto& [key, child] : value.map)
    if (key != "min" && key != "max" && key != "target_drop")
      child.fail_key("unknown key" + suggestion(key, {"min", "max", "target_drop"}));
  for (const auto& [key, target] : keys) {
    const Value* child = value.find(key);
    if (!child)
      value.fail(fmt::format("{} has no {}; allowed: {}", value.shown(), key, kDynamicForms));
    *target = child->as_number();
    const bool share = key == "target_drop";
    if (share ? *target < 0 || *target > 1 : *target <= 0)
      child->fail(fmt::format("{} is out of range; allowed: number {}", child->shown(),
                              share ? "≥ 0 and ≤ 1" : "> 0"));
  }
  if (read.min > read.max) value.fail(fmt::format("min: {} is above max: {}", read.min, read.max));
  options.dynamic = read;
}

Value print_dynamic(const CapacityOptions& options) {
  if (!options.dynamic) return Value::of_word("none");
  return Value::of_map({{"min", Value::of_number(options.dynamic->min)},
                        {"max", Value::of_number(options.dynamic->max)},
                        {"target_drop", Value::of_number(options.dynamic->target_drop)}});
}

}  // namespace

void describe(Fields& fields, CapacityOptions& options) {
  fields
      .number_or("factor", options.factor, "none",
                 "Tokens an expert accepts, as a multiple of K·T/E; none = dropless.")
      .more_than(0)
      .also_called({"capacity_factor", "moe_capacity_factor", "expert_capacity",
                    "moe_expert_capacity_factor", "train_capacity_factor"});
  fields
      .custom(
          "eval_factor", "auto | none | number > 0",
          [&options](const Value& value) { read_eval_factor(value, options); },
          [&options] { return print_eval_factor(options); },
          "The factor in evaluation; auto = factor, none = dropless.")
      .also_called({"eval_capacity_factor"})
      .with_schema(
          R"({"anyOf": [{"enum": ["auto", "none"]}, {"type": "number", "exclusiveMinimum": 0}]})");
  fields
      .choice("order", options.order, {"position", "probability", "batch_priority", "random"},
              "Which assignments fill an expert first.")
      .also_spelled({{"probs", "probability"}, {"vmoe", "batch_priority"}, {"rts", "random"}})
      .also_called({"token_drop_policy", "moe_token_drop_policy", "drop_policy"});
  fields.choice("overflow", options.overflow, {"drop", "next_choice"},
                "What happens to an assignment above the capacity: no expert, or the next in the "
                "token's ranking with room.");
  fields
      .custom(
          "scope", scope_forms(kScopes),
          [&options](const Value& value) {
            read_scope(value, kScopes, options.scope, options.scope_sequences);
          },
          [&options] { return print_scope(options.scope, options.scope_sequences); },
          "Tokens that share one capacity.")
      .with_schema(scope_schema(kScopes));
  fields.integer("min", options.min, "Lowest capacity.").at_least(0).also_called({"min_capacity"});
  fields.flag("renormalize", options.renormalize,
              "Divide the weights of the kept assignments by their sum.");
  fields
      .custom(
          "dynamic", kDynamicForms,
          [&options](const Value& value) { read_dynamic(value, options); },
          [&options] { return print_dynamic(options); },
          "Let the factor follow the drop rate: × or ÷ 1.05 a step, from `factor`.")
      .with_schema(R"({"anyOf": [{"const": "none"}, {"type": "object", "properties": {
          "min": {"type": "number", "exclusiveMinimum": 0}, "max": {"type": "number", "exclusiveMinimum": 0},
          "target_drop": {"type": "number", "minimum": 0, "maximum": 1}},
          "required": ["min", "max", "target_drop"], "additionalProperties": false}]})");
}

}  // namespace switchyard
