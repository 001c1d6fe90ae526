#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/step_value.h"

namespace switchyard {

class Fields;

/// `moe.bias`: balancing without a loss.
struct BiasOptions {
  std::string type = "none";  ///< none | sign | proportional | multiplicative | pid | quantile
  StepValue rate = 0.001;     ///< size u of each update, by step
  double kp = 0.001;          ///< pid: of the error
  double ki = 0.0;            ///< pid: of the sum of errors
  double kd = 0.0;            ///< pid: of the error's change
  double ema = 0.0;           ///< β of the average of counts; 0 = the step's own
  bool zero_mean = false;     ///< subtract the mean of the biases after each update
  std::optional<int64_t> freeze_after;  ///< optimizer steps after which the biases stay

  /// Whether selection is by s·b rather than s + b.
  bool multiplies() const { return type == "multiplicative"; }
};

void describe(Fields& fields, BiasOptions& options);

}  // namespace switchyard
