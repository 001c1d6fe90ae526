#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/moe/options/router_options.h"

namespace switchyard {

/// What other parts of a config must know about a router: which balance terms, biases and capacity
/// rules make sense with it.
struct RouterTraits {
  bool has_probs = true;         ///< p is defined, so that terms of p apply
  bool has_load = false;         ///< P(expert is selected) is defined: the term `load` applies
  bool takes_bias = true;        ///< a selection bias is added to its scores
  bool takes_capacity = true;    ///< a capacity factor makes sense
  bool ranks_experts = true;     ///< a refused token can go to its next choice
  bool fixed_columns = true;     ///< no token gets more than K experts
  bool causal = true;            ///< a token's experts never depend on later tokens
  bool normalises = false;       ///< the K weights of a token always add up to a constant
  std::optional<int64_t> top_k;  ///< the only K it can do
};

/// Throws ConfigError for an unknown type.
RouterTraits router_traits(const RouterOptions& options, int64_t top_k);

/// The router types with a trait, for a refusal: "switch, gshard, ...", or "none".
std::string routers_with(bool RouterTraits::*trait, int64_t top_k);

}  // namespace switchyard
