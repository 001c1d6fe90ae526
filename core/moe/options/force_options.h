#pragma once

#include <string>

#include "core/config/value.h"

namespace switchyard {

/// `moe.force`: assignments by a given law instead of the router's, for load tests.
struct ForceOptions {
  std::string law = "none";  ///< none | uniform | round_robin | zipf | one
  double exponent = 0;       ///< zipf: expert e has probability ∝ (e + 1)^−exponent

  bool active() const { return law != "none"; }
};

/// "none | uniform | round_robin | {zipf: a} | one"; ConfigError at the value.
ForceOptions read_force(const Value& value);
Value print_force(const ForceOptions& options);
extern const char* const kForceForms;
extern const char* const kForceSchema;

}  // namespace switchyard
