#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

std::shared_ptr<const BalanceTerm> make_load_balance_term(const BalanceOptions& options,
                                                          const MoEOptions& moe);

}  // namespace switchyard
