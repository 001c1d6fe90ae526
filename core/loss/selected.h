#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// 1 where a token selected an expert, else 0: fp64 [T, num_experts]. −1 in expert_ids_TK = none.
at::Tensor selected_TE(const at::Tensor& expert_ids_TK, int64_t num_experts);

/// 1 where a group holds an expert, else 0: fp64 [D, num_experts]. Groups are consecutive experts;
/// where they do not divide, the first groups hold one more, as ranks do.
at::Tensor groups_DE(int64_t num_groups, int64_t num_experts, const at::TensorOptions& like);

}  // namespace switchyard
