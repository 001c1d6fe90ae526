#include "core/moe/options/router_traits.h"

#include <fmt/format.h>

#include <vector>

#include "core/base/error.h"
#include "core/config/fields.h"
#include "core/config/nearest.h"

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
    traits.has_load = type == "noisy_top_k";
  } else if (type == "gumbel") {
    traits.takes_bias = false;
  } else if (type == "expert_choice") {
    traits.takes_bias = traits.takes_capacity = traits.ranks_experts = false;
    traits.fixed_columns = traits.causal = false;
  } else if (type == "hash") {
    traits.has_probs = traits.takes_bias = traits.ranks_experts = false;
  } else if (type == "base") {
    traits.takes_bias = traits.ranks_experts = traits.causal = false;
    traits.top_k = 1;
  } else if (type == "sinkhorn") {
    traits.takes_bias = traits.causal = false;
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

std::string routers_with(bool RouterTraits::*trait, int64_t top_k) {
  RouterOptions options;
  const auto fields = Fields::bind(options);
  std::vector<std::string> types;
  for (const std::string& type : fields->find("type")->choices) {
    options.type = type;
    if (router_traits(options, top_k).*trait) types.push_back(type);
  }
  return types.empty() ? "none" : join(types);
}

}  // namespace switchyard
