#include "core/loss/balance_terms.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/partition.h"
#include "core/loss/device_terms.h"
#include "core/loss/entropy_terms.h"
#include "core/loss/load_balance_term.h"
#include "core/loss/orthogonal_term.h"
#include "core/loss/relu_l1.h"
#include "core/loss/variation_terms.h"
#include "core/loss/z_term.h"

namespace switchyard {
namespace {

// The most of `parts` blocks of experts that one of `groups` blocks has experts in.
int64_t most_touched(int64_t groups, int64_t parts, int64_t num_experts) {
  int64_t most = 0;
  for (int64_t group = 0; group < groups; ++group) {
    const Share experts = block_of(group, groups, num_experts);
    int64_t touched = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const Share other = block_of(part, parts, num_experts);
      touched +=
          other.first < experts.first + experts.count && experts.first < other.first + other.count;
    }
    most = std::max(most, touched);
  }
  return most;
}

// M: the groups of experts that a token can reach through the groups that its router keeps.
int64_t most_groups(const MoEOptions& moe, int64_t num_groups) {
  const RouterOptions& router = moe.router;
  const bool by_branch = router.type == "hierarchical";
  const int64_t groups = by_branch ? router.branches[0] : router.groups;
  const int64_t kept = by_branch ? router.kept[0] : router.kept_groups;
  const int64_t reached =
      kept < groups ? kept * most_touched(groups, num_groups, moe.num_experts) : num_groups;
  return std::min({moe.experts_per_token(), reached, num_groups});
}

std::shared_ptr<const BalanceTerm> make_term(const BalanceOptions& options, const MoEOptions& moe,
                                             int64_t num_devices) {
  const int64_t groups = options.groups.value_or(num_devices);
  const std::string& type = options.type;
  if (type == "load_balance") return make_load_balance_term(options, moe);
  if (type == "device") return make_device_term(options, groups);
  if (type == "communication")
    return make_communication_term(options, groups, most_groups(moe, groups));
  if (type == "importance") return make_importance_term(options);
  if (type == "load") return make_load_term(options);
  if (type == "z") return make_z_term(options);
  if (type == "entropy") return make_entropy_term(options);
  if (type == "token_entropy") return make_token_entropy_term(options);
  if (type == "orthogonal") return make_orthogonal_term(options);
  throw ConfigError(fmt::format("moe.balance: {} is not a balance term", type));
}

}  // namespace

BalanceTerms make_balance_terms(const MoEOptions& moe, int64_t num_devices) {
  BalanceTerms terms;
  for (const BalanceOptions& options : moe.balance)
    terms.push_back(make_term(options, moe, num_devices));
  if (moe.router.type == "relu") terms.push_back(make_relu_l1_term(moe.top_k));
  return terms;
}

}  // namespace switchyard
