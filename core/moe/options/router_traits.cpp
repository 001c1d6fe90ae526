#include "core/moe/options/router_traits.h"

#include <fmt/format.h>

#include "core/base/error.h"

namespace switchyard {

RouterTraits router_traits(const RouterOptions& options, int64_t top_k) {
  const std::string& type = options.type;
  RouterTraits traits;
  if (type == "switch") {
    traits.top_k = 1;
  } else if (type == "gshard") {
    traits.top_k = 2;
    traits.normalises = true;
  } else if (type == "mixtral" || type == "deepseek_v3") {
    traits.normalises = true;
  } else if (type == "top_k") {
    traits.normalises = options.normalize.value_or(top_k > 1);
  } else if (type == "noisy_top_k" || type == "hierarchical") {
    traits.takes_bias = false;
    traits.normalises = true;
  } else if (type == "gumbel") {
    traits.takes_bias = false;
  } else if (type == "relu") {
    traits.takes_bias = traits.ranks_experts = traits.fixed_columns = false;
  } else if (type == "soft") {
    traits.takes_bias = traits.takes_capacity = traits.ranks_experts = false;
    traits.fixed_columns = false;
  } else if (type != "deepseek_moe" && type != "deepseek_v2") {
    throw ConfigError(fmt::format("moe.router.type: {} is not a router", type));
  }
  return traits;
}

}  // namespace switchyard
