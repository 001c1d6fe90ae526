#pragma once

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// The balance terms of `moe.balance`, in the order written, then the relu router's own term. `moe`
/// gives K, and the groups that `count: unbiased` and `communication` look at; `num_devices` is
/// what `groups: ranks` means. Convention: 1 at perfect balance (or 0 where said) for every K, E,
/// number of layers and sequence length. f has no gradient.
///   load_balance   E Σ_e f_e P_e per group of the scope, token-weighted mean over the groups
///                  Fedus 2022, equation 4; Lepikhin 2021 (first_choice); Qwen 2025 (step)
///   device         Σ_d (mean over e in d of E f_e)(Σ over e in d of P_e)   DeepSeek-V2 2024
///   communication  Σ_d f''_d P''_d, f''_d = D/(M T) · tokens that reach group d: 1 where every
///                  token reaches M groups, less where fewer               DeepSeek-V2 2024
///   importance     variance/mean² of the combine weights' sums: 0         Shazeer 2017
///   load           variance/mean² of the expected loads: 0                Shazeer 2017
///   z              mean (logsumexp logits)², a magnitude                  Zoph 2022, equation 5
///   entropy        ln E − H(P): 0
///   token_entropy  mean H(p_t), a magnitude
///   orthogonal     ‖W Wᵀ − I‖₁ of the router's weight, once per step: 0   SimBal 2025
BalanceTerms make_balance_terms(const MoEOptions& moe, int64_t num_devices = 1);

}  // namespace switchyard
