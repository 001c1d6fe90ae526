#include "core/moe/options/bias_options.h"

#include "core/config/fields.h"

namespace switchyard {

void describe(Fields& fields, BiasOptions& options) {
  fields
      .choice("type", options.type,
              {"none", "sign", "proportional", "multiplicative", "pid", "quantile"},
              "Rule that moves the selection biases after each step.")
      .also_spelled({{"loss_free", "sign"},
                     {"aux_free", "sign"},
                     {"quantile_balancing", "quantile"},
                     {"qb", "quantile"}});
  fields.step_number("rate", options.rate, "Size of each update.")
      .at_least(0)
      .only_for({"sign", "proportional", "multiplicative"})
      .also_called({"bias_update_speed", "bias_update_rate", "moe_router_bias_update_rate",
                    "bias_u", "gamma", "u"});
  fields.number("kp", options.kp, "Factor on the error (mean - c)/mean.")
      .at_least(0)
      .only_for({"pid"});
  fields.number("ki", options.ki, "Factor on the sum of all errors so far, this step's included.")
      .at_least(0)
      .only_for({"pid"});
  fields.number("kd", options.kd, "Factor on the error's change since the last step.")
      .at_least(0)
      .only_for({"pid"});
  fields
      .number("ema", options.ema,
              "β of the counts' moving average c ← βc + (1-β)c_new; 0 = the step's own counts.")
      .at_least(0)
      .less_than(1)
      .only_for({"sign", "proportional", "multiplicative", "pid"});
  fields.flag("zero_mean", options.zero_mean, "Subtract the biases' mean after each update.")
      .only_for({"sign", "proportional", "pid"});
  fields
      .integer_or("freeze_after", options.freeze_after, "none",
                  "Optimizer steps after which the biases stay as they are.")
      .at_least(0)
      .only_for({"sign", "proportional", "multiplicative", "pid", "quantile"});
}

}  // namespace switchyard
