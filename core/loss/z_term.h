#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

std::shared_ptr<const BalanceTerm> make_z_term(const BalanceOptions& options);

}  // namespace switchyard
