#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// Population variance ÷ mean² of amounts_E; 0 where all are 0. Smooth, at perfect balance too.
at::Tensor squared_variation(const at::Tensor& amounts_E);

/// squared_variation of the combine weights summed over tokens. Shazeer 2017, equations 6 and 7.
std::shared_ptr<const BalanceTerm> make_importance_term(const BalanceOptions& options);
/// squared_variation of the expected loads: Shazeer 2017, equations 8 to 11. 0 without noise.
std::shared_ptr<const BalanceTerm> make_load_term(const BalanceOptions& options);

}  // namespace switchyard
