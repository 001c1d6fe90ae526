#include <fmt/format.h>

#include "core/base/error.h"
#include "core/moe/options/balance_options.h"
#include "core/moe/options/router_traits.h"

namespace switchyard {
namespace {

// Which number of a router a term is made of.
bool RouterTraits::*needed_by(const std::string& type) {
  return type == "load" ? &RouterTraits::has_load : &RouterTraits::has_probs;
}

const char* what_is_needed(const std::string& type) {
  if (type == "load") return "the chance of being selected";
  if (type == "orthogonal") return "a weight";
  if (type == "importance") return "weights with a gradient";
  return "probabilities";
}

void check_router(const std::string& path, const BalanceOptions& term, const RouterOptions& router,
                  int64_t top_k) {
  const auto needed = needed_by(term.type);
  if (router_traits(router, top_k).*needed) return;
  throw ConfigError(fmt::format(
      "{}.type: {} needs {}, which moe.router.type: {} does not have; routers that do: {}", path,
      term.type, what_is_needed(term.type), router.type, routers_with(needed, top_k)));
}

void check_groups(const std::string& path, const BalanceOptions& term, int64_t num_experts) {
  if (term.type != "device" && term.type != "communication") return;
  if (!term.has_groups)
    throw ConfigError(
        fmt::format("{}.type: {} needs groups; allowed: groups: integer ≥ 1, or groups: ranks",
                    path, term.type));
  if (term.groups && num_experts % *term.groups != 0)
    throw ConfigError(fmt::format("{}.groups: {} does not divide moe.num_experts: {}", path,
                                  *term.groups, num_experts));
}

void check_sign(const std::string& path, const BalanceOptions& term) {
  if (term.type == "token_entropy") return;
  for (const auto& [step, coef] : term.coef.pieces())
    if (coef < 0)
      throw ConfigError(fmt::format(
          "{}.coef: {} is out of range; allowed: number ≥ 0 (token_entropy takes either sign)",
          path, coef));
}

}  // namespace

void check_balance(const std::vector<BalanceOptions>& balance, const RouterOptions& router,
                   int64_t num_experts, int64_t top_k) {
  for (size_t i = 0; i < balance.size(); ++i) {
    const std::string path = fmt::format("moe.balance.{}", i);
    check_router(path, balance[i], router, top_k);
    check_groups(path, balance[i], num_experts);
    check_sign(path, balance[i]);
  }
}

}  // namespace switchyard
