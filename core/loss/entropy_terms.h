#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// ln E − H(P): how far the mean probabilities of the micro-batch are from uniform.
std::shared_ptr<const BalanceTerm> make_entropy_term(const BalanceOptions& options);
/// mean_t H(p_t): how undecided tokens are.
std::shared_ptr<const BalanceTerm> make_token_entropy_term(const BalanceOptions& options);

}  // namespace switchyard
