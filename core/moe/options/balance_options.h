#pragma once

#include <cstdint>
#include <string>

namespace switchyard {

class Fields;

/// One entry of `moe.balance`.
struct BalanceOptions {
  std::string type = "load_balance";
  double coef = 0.01;            ///< ≥ 0; multiplies a term that is 1 at perfect balance
  std::string scope = "step";    ///< sequence | sequences | micro_batch | step
  int64_t scope_sequences = 0;   ///< group size of scope {sequences: n}
  std::string f = "running";     ///< scope step: running | exact
  std::string count = "routed";  ///< routed | unbiased (top-K of s, no bias, no groups)
  bool first_choice = false;     ///< count first choices only
};

void describe(Fields& fields, BalanceOptions& options);

}  // namespace switchyard
