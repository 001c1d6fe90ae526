#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

// Moving rows between the order of tokens and the order of experts; fp32 and fp64, on a CPU,
// contiguous, without gradients.

/// out[i] = x[index[i]].
void gather_rows_out(const at::Tensor& x_UD, const at::Tensor& index_N, const at::Tensor& out_ND);
at::Tensor gather_rows(const at::Tensor& x_UD, const at::Tensor& index_N);

/// The rows of each token, in rising order: row[first[u] .. first[u + 1]).
struct TokenRows {
  at::Tensor first_U;  ///< int64, U + 1 entries
  at::Tensor row_R;    ///< int64
};
TokenRows rows_of_tokens(const at::Tensor& row_token_R, int64_t num_tokens);

/// y_UD[u] = Σ of the token's rows in rising order; zero where it has none.
at::Tensor sum_rows_of_tokens(const at::Tensor& rows_RD, const TokenRows& token_rows);

}  // namespace switchyard
