#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace switchyard {

/// Which token each row of expert work belongs to, and with which weight. Rows are sorted by
/// expert; a token has at most one row per expert.
struct ExpertRows {
  at::Tensor row_token_R;   ///< int64, row of x_UD
  at::Tensor row_weight_R;  ///< differentiable
  std::vector<int64_t>
      offsets_e;  ///< e + 1 entries: rows [offsets[i], offsets[i+1]) go to expert i
};

/// The experts' matrices, stacked.
struct ExpertWeights {
  at::Tensor gate_up_eGD;  ///< [e, 2F, D], gate rows first
  at::Tensor down_eDF;     ///< [e, D, F]
  /// In fp32 and fp64 on a CPU, a weight that is a leaf with a defined .grad gets its gradient
  /// added straight into .grad, and autograd sees none: hooks on that parameter do not run, and
  /// torch::autograd::grad gets nothing.
  bool accumulate_into_grad = false;
};

/// y_UD, the routed feed-forward as one differentiable operation: for each row r of expert j with
/// token u, y[u] += weight_r · down_j · (silu(gate_j x_u) ⊙ up_j x_u), the rows of a token added in
/// expert order. Computed in x's type; weights and row weights of another type are cast to it.
/// Gradients for x, the row weights and both matrices; tokens without rows get zeros. The weight
/// multiplies the activation, so that no expert's output is kept for the backward pass.
at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows, const ExpertWeights& weights);

namespace reference {
at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows, const ExpertWeights& weights);
}

/// The same by operations of ATen on all rows at once, with a grouped matrix product where there is
/// one: what GPUs and bf16 take.
namespace grouped {
at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows, const ExpertWeights& weights);
}

}  // namespace switchyard
