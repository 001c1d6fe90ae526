#include "core/moe/options/balance_options.h"

#include <vector>

#include "core/config/fields.h"
#include "core/config/nearest.h"
#include "core/moe/options/coefficient_sources.h"
#include "core/moe/options/read_count.h"
#include "core/moe/options/scope.h"

namespace switchyard {
namespace {

const std::vector<std::string> kScopes = {"step", "micro_batch", "sequence"};

void read_groups(const Value& value, BalanceOptions& options) {
  const bool ranks = value.is_scalar() && value.scalar == "ranks";
  options.groups = ranks ? std::nullopt : std::optional<int64_t>(read_count(value, 1));
  options.has_groups = true;
}

Value print_groups(const BalanceOptions& options) {
  if (options.groups) return Value::of_integer(*options.groups);
  return Value::of_word(options.has_groups ? "ranks" : "required");
}

// Only token_entropy may push either way.
void read_coef(const Value& value, BalanceOptions& options) {
  StepValue coef = read_step_value(value);
  for (const auto& [step, number] : coef.pieces())
    if (number < 0 && options.type != "token_entropy")
      value.fail(value.shown() +
                 " is out of range; allowed: number ≥ 0 (token_entropy takes either sign)");
  options.coef = std::move(coef);
}

void describe_load(Fields& fields, BalanceOptions& options) {
  fields
      .custom(
          "scope", scope_forms(kScopes),
          [&options](const Value& value) {
            read_scope(value, kScopes, options.scope, options.scope_sequences);
          },
          [&options] { return print_scope(options.scope, options.scope_sequences); },
          "Tokens over which load and scores are averaged.")
      .only_for({"load_balance"})
      .with_schema(scope_schema(kScopes));
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
  fields
      .custom(
          "groups", "integer ≥ 1 | ranks",
          [&options](const Value& value) { read_groups(value, options); },
          [&options] { return print_groups(options); },
          "Groups of consecutive experts; ranks = one for each rank of the expert axis.")
      .only_for({"device", "communication"})
      .with_schema(R"({"anyOf": [{"enum": ["ranks"]}, {"type": "integer", "minimum": 1}]})");
}

}  // namespace

void describe(Fields& fields, BalanceOptions& options) {
  fields
      .choice("type", options.type,
              {"load_balance", "device", "communication", "importance", "load", "z", "entropy",
               "token_entropy", "orthogonal"},
              "The term: 1 at perfect balance, or 0 (importance, load, entropy, orthogonal), or a "
              "magnitude (z, token_entropy).")
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
  Field& coef = fields.step_number("coef", options.coef,
                                   "Coefficient of the term in the loss, ≥ 0; that of "
                                   "token_entropy may have either sign.");
  coef.set = [&options](const Value& value) { read_coef(value, options); };
  coef.default_for("z", Value::of_number(0.001))
      .also_called({"aux_loss_coef", "router_aux_loss_coef", "router_z_loss_coef",
                    "moe_aux_loss_coeff", "moe_z_loss_coeff", "load_balance_coeff",
                    "aux_loss_alpha", "alpha", "weight", "coefficient", "lambda"});
  fields
      .choice("from", options.from, coefficient_sources(),
              "The system that coef is taken from; it is converted to ours and shown so.")
      .only_for({"load_balance", "device", "communication", "z"})
      .also_spelled({{"huggingface", "hf"},
                     {"transformers", "hf"},
                     {"megatron_lm", "megatron"},
                     {"olmo_core", "olmo"},
                     {"olmoe", "olmo"}});
  describe_load(fields, options);
}

}  // namespace switchyard
