#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// Balance between groups of consecutive experts, DeepSeek-V2 2024, equations 26 to 31.
/// `num_groups`: what `groups` of the options means in this run.
std::shared_ptr<const BalanceTerm> make_device_term(const BalanceOptions& options,
                                                    int64_t num_groups);
/// `most_groups`: M, the groups that a token can reach through those that its router keeps.
std::shared_ptr<const BalanceTerm> make_communication_term(const BalanceOptions& options,
                                                           int64_t num_groups, int64_t most_groups);

}  // namespace switchyard
