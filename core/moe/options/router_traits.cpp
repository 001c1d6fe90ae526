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
  } else if (type != "deepseek_moe") {
    throw ConfigError(fmt::format("moe.router.type: {} is not a router", type));
  }
  return traits;
}

}  // namespace switchyard
