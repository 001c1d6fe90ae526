#include "core/moe/options/capacity_options.h"

#include "core/config/fields.h"

namespace switchyard {
namespace {

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
      .choice("order", options.order, {"position", "probability", "batch_priority"},
              "Which assignments fill an expert first.")
      .also_spelled({{"probs", "probability"}, {"vmoe", "batch_priority"}})
      .also_called({"token_drop_policy", "moe_token_drop_policy", "drop_policy"});
  fields.choice("overflow", options.overflow, {"drop"},
                "What happens to an assignment above the capacity.");
  fields.choice("scope", options.scope, {"micro_batch", "sequence"},
                "Tokens that share one capacity.");
  fields.integer("min", options.min, "Lowest capacity.").at_least(0).also_called({"min_capacity"});
  fields.flag("renormalize", options.renormalize,
              "Divide the weights of the kept assignments by their sum.");
}

}  // namespace switchyard
