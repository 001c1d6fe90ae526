#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// Z Σ_e η_e f_e P_e with η and Z of moe.light: E Σ f P where no expert is light. moe.top_k:
/// experts per token that `count: unbiased` counts.
std::shared_ptr<const BalanceTerm> make_load_balance_term(const BalanceOptions& options,
                                                          const MoEOptions& moe);

}  // namespace switchyard
