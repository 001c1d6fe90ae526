#pragma once

#include <memory>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// Σ_d (mean_{e∈d} E f_e)(Σ_{e∈d} P_e) over D equal groups of consecutive experts.
/// DeepSeekMoE (Dai 2024), equation 15.
std::shared_ptr<const BalanceTerm> make_device_term(const MoEOptions& moe, int64_t groups);

/// Σ_d f''_d P''_d with f''_d = D/(M T) · tokens that reach group d, P''_d = Σ_{e∈d} P_e and M =
/// min(K, kept groups where they are limited, else D): 1 where every token reaches M groups.
/// DeepSeek-V2 (2024), equations 29 to 31.
std::shared_ptr<const BalanceTerm> make_communication_term(const MoEOptions& moe, int64_t groups);

}  // namespace switchyard
