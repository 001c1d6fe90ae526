#include "core/moe/options/bias_options.h"

#include "core/config/fields.h"

namespace switchyard {

void describe(Fields& fields, BiasOptions& options) {
  fields.choice("type", options.type, {"none", "sign"},
                "Rule that moves the selection biases after each step.");
  fields.number("rate", options.rate, "Size of each update.")
      .at_least(0)
      .only_for({"sign"})
      .also_called({"bias_update_speed", "bias_update_rate", "moe_router_bias_update_rate",
                    "bias_u", "gamma", "u"});
}

}  // namespace switchyard
