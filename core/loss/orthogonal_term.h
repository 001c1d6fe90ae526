#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// ‖W Wᵀ − I‖₁ of the router's weight, the sum of absolute entries. SimBal, arXiv 2506.14038.
std::shared_ptr<const BalanceTerm> make_orthogonal_term(const BalanceOptions& options);

}  // namespace switchyard
