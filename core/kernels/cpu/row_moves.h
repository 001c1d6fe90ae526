#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/kernels/cpu/matrix.h"

namespace switchyard {

// Moving rows between the order of tokens and the order of experts; fp32 and fp64, on a CPU,
// contiguous, without gradients.

/// out[i] = x[index[i]], zero where the index is −1; on the calling thread.
void gather_rows(Matrix<const float> x, const int64_t* index, Matrix<float> out);
void gather_rows(Matrix<const double> x, const int64_t* index, Matrix<double> out);

/// The places of each token's rows, in rising order: place[first[u] .. first[u + 1]).
struct TokenRows {
  at::Tensor first_U;  ///< int64, U + 1 entries
  at::Tensor place_R;  ///< int64
};
/// token_P: the token of each place, −1 = none.
TokenRows rows_of_tokens(const at::Tensor& token_P, int64_t num_tokens);

/// y_UD[u] = Σ of the token's rows in rising order of place; zero where it has none.
at::Tensor sum_rows_of_tokens(const at::Tensor& rows_PD, const TokenRows& token_rows);

}  // namespace switchyard
