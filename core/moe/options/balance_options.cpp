#include "core/moe/options/balance_options.h"

#include <vector>

#include "core/config/fields.h"
#include "core/moe/options/scope.h"

namespace switchyard {
namespace {

const std::vector<std::string> kScopes = {"step", "micro_batch", "sequence"};

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
}

}  // namespace switchyard
