#include "core/kernels/cpu/matrix.h"

#include <ATen/ATen.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>

#include "core/kernels/cpu/clones.h"

namespace switchyard {
namespace {

// A tile of b stays in the second-level cache while the rows of a pass by.
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileColumns = 256;

constexpr int64_t kCell = 8;
using Vector = float __attribute__((vector_size(kCell * sizeof(float))));

// 8 × 8: swaps single columns, then pairs, then halves between rows.
SWITCHYARD_INLINE void transpose_cell(const float* in, int64_t stride_in, float* out,
                                      int64_t stride_out) {
  Vector a[kCell], b[kCell];
  for (int64_t i = 0; i < kCell; ++i) __builtin_memcpy(&a[i], in + i * stride_in, sizeof(Vector));
  for (int64_t i = 0; i < kCell; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int64_t i = 0; i < kCell; i += 4) {
    for (int64_t j = i; j < i + 2; ++j) {
      a[j] = __builtin_shufflevector(b[j], b[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[j + 2] = __builtin_shufflevector(b[j], b[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int64_t i = 0; i < 4; ++i) {
    b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    b[i + 4] = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int64_t i = 0; i < kCell; ++i) __builtin_memcpy(out + i * stride_out, &b[i], sizeof(Vector));
}

template <class T>
void transpose_edge(Matrix<const T> in, Matrix<T> out) {
  for (int64_t i = 0; i < in.rows; ++i)
    for (int64_t j = 0; j < in.columns; ++j) out.row(j)[i] = in.row(i)[j];
}

SWITCHYARD_CLONES void transpose_cells(Matrix<const float> in, Matrix<float> out) {
  for (int64_t j = 0; j < in.columns; j += kCell)
    for (int64_t i = 0; i < in.rows; i += kCell)
      transpose_cell(in.row(i) + j, in.stride, out.row(j) + i, out.stride);
}

at::Tensor tensor_of(Matrix<const double> m) {
  return at::from_blob(const_cast<double*>(m.data), {m.rows, m.columns}, {m.stride, 1},
                       at::TensorOptions().dtype(at::kDouble));
}

}  // namespace

void transpose(Matrix<const float> in, Matrix<float> out) {
  const int64_t rows = in.rows / kCell * kCell, columns = in.columns / kCell * kCell;
  transpose_cells(in.row_range(0, rows).column_range(0, columns), out);
  transpose_edge(in.row_range(rows, in.rows - rows), out.column_range(rows, in.rows - rows));
  transpose_edge(in.row_range(0, rows).column_range(columns, in.columns - columns),
                 out.row_range(columns, in.columns - columns));
}

void transpose(Matrix<const double> in, Matrix<double> out) {
  transpose_edge(in, out);
}

void multiply(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, bool add) {
  if (a.columns == 0 && !add)
    for (int64_t i = 0; i < c.rows; ++i) std::fill_n(c.row(i), c.columns, 0.0f);
  for (int64_t n = 0; n < b.columns; n += kTileColumns)
    for (int64_t k = 0; k < a.columns; k += kDepth)
      for (int64_t m = 0; m < a.rows; m += kTileRows)
        at::native::cpublas::brgemm(std::min(kTileRows, a.rows - m),
                                    std::min(kTileColumns, b.columns - n),
                                    std::min(kDepth, a.columns - k), a.stride, b.stride, c.stride,
                                    add || k > 0, a.row(m) + k, b.row(k) + n, c.row(m) + n);
}

void multiply(Matrix<const double> a, Matrix<const double> b, Matrix<double> c, bool add) {
  at::Tensor target = tensor_of(c);
  if (add)
    at::addmm_out(target, target, tensor_of(a), tensor_of(b));
  else
    at::mm_out(target, tensor_of(a), tensor_of(b));
}

}  // namespace switchyard
