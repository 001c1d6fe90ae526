#include "core/loss/balance_terms.h"

#include "core/base/error.h"
#include "core/loss/load_balance_term.h"
#include "core/loss/z_term.h"

namespace switchyard {

BalanceTerms make_balance_terms(const MoEOptions& moe) {
  BalanceTerms terms;
  for (const BalanceOptions& options : moe.balance) {
    if (options.type == "load_balance") {
      terms.push_back(make_load_balance_term(options, moe));
    } else if (options.type == "z") {
      terms.push_back(make_z_term(options));
    } else {
      throw ConfigError(fmt::format("moe.balance: {} is not a balance term", options.type));
    }
  }
  return terms;
}

}  // namespace switchyard
