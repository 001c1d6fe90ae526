#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/step_value.h"
#include "core/moe/options/router_options.h"

namespace switchyard {

class Fields;

/// One entry of `moe.balance`.
struct BalanceOptions {
  std::string type = "load_balance";
  StepValue coef = 0.01;            ///< multiplies a term that is 1 at perfect balance, or 0
  std::string from = "switchyard";  ///< whose convention `coef` is written in
  std::string scope = "step";       ///< sequence | sequences | micro_batch | step
  int64_t scope_sequences = 0;      ///< group size of scope {sequences: n}
  std::string f = "running";        ///< scope step: running | exact
  std::string count = "routed";     ///< routed | unbiased (top-K of s, no bias, no groups)
  bool first_choice = false;        ///< count first choices only
  bool has_groups = false;          ///< device, communication: `groups` is written
  std::optional<int64_t> groups;    ///< groups of experts; none = one per rank of the expert axis
};

void describe(Fields& fields, BalanceOptions& options);

/// Throws ConfigError for a term without its groups, or one that the router has no numbers for; the
/// text names the routers that have them.
void check_balance(const std::vector<BalanceOptions>& balance, const RouterOptions& router,
                   int64_t num_experts, int64_t top_k);

}  // namespace switchyard
