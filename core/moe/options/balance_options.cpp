#include "core/moe/options/balance_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/config/fields.h"
#include "core/config/nearest.h"
#include "core/moe/options/read_count.h"

namespace switchyard {
namespace {

const char* const kScopeForms = "step | micro_batch | sequence | {sequences: n}";

void read_scope(const Value& value, BalanceOptions& options) {
  if (value.is_map()) {
    for (const auto& [key, child] : value.map)
      if (key != "sequences") child.fail_key("unknown key" + suggestion(key, {"sequences"}));
    if (value.map.empty()) value.fail(fmt::format("{{}} is not a scope; allowed: {}", kScopeForms));
    options.scope_sequences = read_count(value.map[0].second, 1);
    options.scope = "sequences";
    return;
  }
  const std::vector<std::string> words = {"step", "micro_batch", "sequence"};
  if (!value.is_scalar() || std::find(words.begin(), words.end(), value.scalar) == words.end())
    value.fail(value.shown() + " is not a scope" +
               suggestion(value.is_scalar() ? value.scalar : "", words) + ", {sequences: n}");
  options.scope = value.scalar;
  options.scope_sequences = 0;
}

Value print_scope(const BalanceOptions& options) {
  if (options.scope != "sequences") return Value::of_word(options.scope);
  return Value::of_map({{"sequences", Value::of_integer(options.scope_sequences)}});
}

}  // namespace

void describe(Fields& fields, BalanceOptions& options) {
  fields
      .choice("type", options.type, {"load_balance", "z"},
              "The term: 1 at perfect balance, or a magnitude (z).")
      .also_spelled({{"aux_loss", "load_balance"},
                     {"z_loss", "z"},
                     {"router_z_loss", "z"},
                     {"seq_aux_loss", "sequence"},
                     {"global_aux_loss", "global_batch"}});
  fields.alias("switch", "load_balance", {{"scope", Value::of_word("micro_batch")}});
  fields.alias("micro_batch", "load_balance", {{"scope", Value::of_word("micro_batch")}});
  fields.alias("global_batch", "load_balance", {{"scope", Value::of_word("step")}});
  fields.alias("sequence", "load_balance", {{"scope", Value::of_word("sequence")}});
  fields.alias("gshard", "load_balance", {{"first_choice", Value::of_flag(true)}});
  fields.number("coef", options.coef, "Coefficient of the term in the loss.")
      .at_least(0)
      .default_for("z", Value::of_number(0.001))
      .also_called({"aux_loss_coef", "router_aux_loss_coef", "router_z_loss_coef",
                    "moe_aux_loss_coeff", "moe_z_loss_coeff", "load_balance_coeff",
                    "aux_loss_alpha", "alpha", "weight", "coefficient", "lambda"});
  fields
      .custom(
          "scope", kScopeForms, [&options](const Value& value) { read_scope(value, options); },
          [&options] { return print_scope(options); },
          "Tokens over which load and scores are averaged.")
      .only_for({"load_balance"})
      .with_schema(
          R"({"anyOf": [{"enum": ["step", "micro_batch", "sequence"]}, {"type": "object", "properties":
          {"sequences": {"type": "integer", "minimum": 1}}, "required": ["sequences"], "additionalProperties": false}]})");
  fields
      .choice("f", options.f, {"running", "exact"},
              "Load over the step so far, or over the whole step by a forward-only counting pass.")
      .only_for({"step"}, "scope");
  fields
      .choice("count", options.count, {"routed", "unbiased"},
              "Count the selected experts, or the top K by score without bias and groups.")
      .only_for({"load_balance"});
  fields.flag("first_choice", options.first_choice, "Count first choices only.")
      .only_for({"load_balance"});
}

}  // namespace switchyard
