#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/kernels/expert_ffn.h"

namespace switchyard {

// The two passes of expert_ffn on a CPU in fp32 and fp64, outside autograd. P: rows after padding.

/// Rows with each expert's share filled up to a multiple of kRowPad by empty rows (token −1, weight
/// 0): few distinct block heights, so that few matrix kernels are generated.
constexpr int64_t kRowPad = 8;
struct PaddedRows {
  std::vector<int64_t> offsets_e;      ///< into P
  std::vector<int64_t> row_offsets_e;  ///< into R
  at::Tensor token_P, weight_P;
  at::Tensor first_U,
      place_R;  ///< token u's rows: place[first[u] .. first[u + 1]), in expert order
};
PaddedRows pad_rows(const ExpertRows& rows, int64_t num_tokens);

/// gate_up [e, 2F, D] and down [e, D, F], contiguous; as a target of gradients either may be
/// undefined.
struct ExpertMatrices {
  at::Tensor gate_up_eGD, down_eDF;
};

struct ForwardResult {
  at::Tensor y_UD;
  at::Tensor gate_up_PG;  ///< kept for the backward pass
};
ForwardResult forward_pass(const at::Tensor& x_UD, const PaddedRows& rows,
                           const ExpertMatrices& experts);

struct BackwardInput {
  at::Tensor x_UD, gate_up_PG, dy_UD;
};
struct BackwardResult {
  at::Tensor dx_UD, dweight_R;
};
/// Adds the matrices' gradients to `targets`.
BackwardResult backward_pass(const BackwardInput& input, const PaddedRows& rows,
                             const ExpertMatrices& experts, const ExpertMatrices& targets);

}  // namespace switchyard
