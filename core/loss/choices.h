#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// [T, E] in fp64: values_TK at each token's experts, 0 elsewhere; −1 in expert_ids_TK is nobody.
/// Differentiable in values_TK.
at::Tensor spread_over_experts(const at::Tensor& values_TK, const at::Tensor& expert_ids_TK,
                               int64_t num_experts);

/// 1 where a token chose the expert: [T, E] in fp64, no gradient.
at::Tensor chosen_TE(const at::Tensor& expert_ids_TK, int64_t num_experts);

}  // namespace switchyard
