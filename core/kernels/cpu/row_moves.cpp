#include "core/kernels/cpu/row_moves.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <cstring>

#include "core/kernels/cpu/clones.h"

namespace switchyard {
namespace {

template <class T>
struct Sum {
  const T* rows;
  const int64_t* first;
  const int64_t* place;
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
    std::memcpy(y, sum.rows + sum.place[from] * D, static_cast<size_t>(D) * sizeof(T));
    for (int64_t i = from + 1; i < to; ++i) {
      const T* __restrict in = sum.rows + sum.place[i] * D;
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

template <class T>
void gather(Matrix<const T> x, const int64_t* index, Matrix<T> out) {
  const size_t bytes = static_cast<size_t>(x.columns) * sizeof(T);
  for (int64_t i = 0; i < out.rows; ++i) {
    if (index[i] < 0)
      std::memset(out.row(i), 0, bytes);
    else
      std::memcpy(out.row(i), x.row(index[i]), bytes);
  }
}

}  // namespace

void gather_rows(Matrix<const float> x, const int64_t* index, Matrix<float> out) {
  gather(x, index, out);
}
void gather_rows(Matrix<const double> x, const int64_t* index, Matrix<double> out) {
  gather(x, index, out);
}

TokenRows rows_of_tokens(const at::Tensor& token_P, int64_t num_tokens) {
  const int64_t P = token_P.size(0);
  const int64_t* token = token_P.const_data_ptr<int64_t>();
  TokenRows result;
  result.first_U = at::zeros({num_tokens + 1}, token_P.options());
  int64_t* first = result.first_U.mutable_data_ptr<int64_t>();
  for (int64_t p = 0; p < P; ++p)
    if (token[p] >= 0) ++first[token[p] + 1];
  for (int64_t u = 0; u < num_tokens; ++u) first[u + 1] += first[u];
  result.place_R = at::empty({first[num_tokens]}, token_P.options());
  int64_t* place = result.place_R.mutable_data_ptr<int64_t>();
  // Filling moves each start to the next one's; shifting by one puts them back.
  for (int64_t p = 0; p < P; ++p)
    if (token[p] >= 0) place[first[token[p]]++] = p;
  for (int64_t u = num_tokens; u > 0; --u) first[u] = first[u - 1];
  first[0] = 0;
  return result;
}

at::Tensor sum_rows_of_tokens(const at::Tensor& rows_PD, const TokenRows& token_rows) {
  const int64_t U = token_rows.first_U.size(0) - 1;
  at::Tensor y_UD = at::empty({U, rows_PD.size(1)}, rows_PD.options());
  AT_DISPATCH_FLOATING_TYPES(y_UD.scalar_type(), "sum_rows_of_tokens", [&] {
    const Sum<scalar_t> sum{rows_PD.const_data_ptr<scalar_t>(),
                            token_rows.first_U.const_data_ptr<int64_t>(),
                            token_rows.place_R.const_data_ptr<int64_t>(), rows_PD.size(1),
                            y_UD.mutable_data_ptr<scalar_t>()};
    at::parallel_for(0, U, 64, [&](int64_t begin, int64_t end) { run(sum, begin, end); });
  });
  return y_UD;
}

}  // namespace switchyard
