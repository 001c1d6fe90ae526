#pragma once

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// The balance terms of `moe.balance`, in the order written. `moe` gives K, and groups for the
/// counts of a `count: unbiased` term. Convention: 1 at perfect balance for every K, E and sequence
/// length.
///   load_balance  E Σ_e f_e P_e per group of the scope, token-weighted mean over the groups; f has
///   no
///                 gradient    Fedus 2022 (equation 4), Lepikhin 2021 (first_choice), Qwen 2025
///                 (step)
///   z             mean (logsumexp logits)², a magnitude    Zoph 2022, equation 5
BalanceTerms make_balance_terms(const MoEOptions& moe);

}  // namespace switchyard
