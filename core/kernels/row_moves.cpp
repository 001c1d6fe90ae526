#include "core/kernels/row_moves.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <cstring>

#include "core/kernels/clones.h"

namespace switchyard {
namespace {

template <class T>
struct Sum {
  const T* rows;
  const int64_t* first;
  const int64_t* row;
  int64_t D;
  T* y;
};

template <class T>
SWITCHYARD_INLINE void sum_tokens(const Sum<T>& sum, int64_t begin, int64_t end) {
  const int64_t D = sum.D;
  for (int64_t u = begin; u < end; ++u) {
    T* __restrict y = sum.y + u * D;
    const int64_t from = sum.first[u], to = sum.first[u + 1];
    if (from == to) {
      for (int64_t d = 0; d < D; ++d) y[d] = 0;
      continue;
    }
    std::memcpy(y, sum.rows + sum.row[from] * D, static_cast<size_t>(D) * sizeof(T));
    for (int64_t i = from + 1; i < to; ++i) {
      const T* __restrict in = sum.rows + sum.row[i] * D;
#pragma omp simd
      for (int64_t d = 0; d < D; ++d) y[d] += in[d];
    }
  }
}

SWITCHYARD_CLONES void run(const Sum<float>& sum, int64_t begin, int64_t end) {
  sum_tokens(sum, begin, end);
}
SWITCHYARD_CLONES void run(const Sum<double>& sum, int64_t begin, int64_t end) {
  sum_tokens(sum, begin, end);
}

}  // namespace

void gather_rows_out(const at::Tensor& x_UD, const at::Tensor& index_N, const at::Tensor& out_ND) {
  const size_t bytes = static_cast<size_t>(x_UD.size(1)) * x_UD.element_size();
  const char* x = static_cast<const char*>(x_UD.const_data_ptr());
  const int64_t* index = index_N.const_data_ptr<int64_t>();
  char* out = static_cast<char*>(out_ND.mutable_data_ptr());
  for (int64_t i = 0; i < index_N.size(0); ++i)
    std::memcpy(out + static_cast<size_t>(i) * bytes, x + static_cast<size_t>(index[i]) * bytes,
                bytes);
}

at::Tensor gather_rows(const at::Tensor& x_UD, const at::Tensor& index_N) {
  at::Tensor out_ND = at::empty({index_N.size(0), x_UD.size(1)}, x_UD.options());
  gather_rows_out(x_UD, index_N, out_ND);
  return out_ND;
}

TokenRows rows_of_tokens(const at::Tensor& row_token_R, int64_t num_tokens) {
  const int64_t R = row_token_R.size(0);
  TokenRows result{at::zeros({num_tokens + 1}, row_token_R.options()),
                   at::empty({R}, row_token_R.options())};
  const int64_t* token = row_token_R.const_data_ptr<int64_t>();
  int64_t* first = result.first_U.mutable_data_ptr<int64_t>();
  int64_t* row = result.row_R.mutable_data_ptr<int64_t>();
  for (int64_t r = 0; r < R; ++r) ++first[token[r] + 1];
  for (int64_t u = 0; u < num_tokens; ++u) first[u + 1] += first[u];
  // Filling moves each start to the next one's place; shifting by one puts them back.
  for (int64_t r = 0; r < R; ++r) row[first[token[r]]++] = r;
  for (int64_t u = num_tokens; u > 0; --u) first[u] = first[u - 1];
  first[0] = 0;
  return result;
}

at::Tensor sum_rows_of_tokens(const at::Tensor& rows_RD, const TokenRows& token_rows) {
  const int64_t U = token_rows.first_U.size(0) - 1;
  at::Tensor y_UD = at::empty({U, rows_RD.size(1)}, rows_RD.options());
  AT_DISPATCH_FLOATING_TYPES(y_UD.scalar_type(), "sum_rows_of_tokens", [&] {
    const Sum<scalar_t> sum{rows_RD.const_data_ptr<scalar_t>(),
                            token_rows.first_U.const_data_ptr<int64_t>(),
                            token_rows.row_R.const_data_ptr<int64_t>(), rows_RD.size(1),
                            y_UD.mutable_data_ptr<scalar_t>()};
    at::parallel_for(0, U, 64, [&](int64_t begin, int64_t end) { run(sum, begin, end); });
  });
  return y_UD;
}

}  // namespace switchyard
