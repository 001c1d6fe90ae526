#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// `top_k`: experts per token that `count: unbiased` counts.
std::shared_ptr<const BalanceTerm> make_load_balance_term(const BalanceOptions& options,
                                                          int64_t top_k);

}  // namespace switchyard
