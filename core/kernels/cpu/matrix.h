#pragma once

#include <cstdint>
#include <type_traits>

namespace switchyard {

/// A row-major matrix in memory that somebody else owns; `stride` elements from row to row.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;

  T* row(int64_t i) const { return data + i * stride; }
  Matrix row_range(int64_t first, int64_t count) const {
    return {row(first), count, columns, stride};
  }
  Matrix column_range(int64_t first, int64_t count) const {
    return {data + first, rows, count, stride};
  }
  operator Matrix<const T>() const { return {data, rows, columns, stride}; }
};

/// A matrix without gaps.
template <class T>
Matrix<T> dense(T* data, int64_t rows, int64_t columns) {
  return {data, rows, columns, columns};
}

/// c = a · b, or c += a · b with `add`; on the calling thread. In fp32 on a processor with AVX-512
/// a row of c depends on its row of a and on b alone, not on the number of rows.
void multiply(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, bool add = false);
void multiply(Matrix<const double> a, Matrix<const double> b, Matrix<double> c, bool add = false);

/// out[j, i] = in[i, j].
void transpose(Matrix<const float> in, Matrix<float> out);
void transpose(Matrix<const double> in, Matrix<double> out);

/// c = a · bᵀ. `scratch` holds b.columns × kPanel elements.
constexpr int64_t kPanel = 128;
template <class T>
void multiply_transposed(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, T* scratch) {
  for (int64_t first = 0; first < b.rows; first += kPanel) {
    const int64_t count = b.rows - first < kPanel ? b.rows - first : kPanel;
    const Matrix<T> panel = dense(scratch, b.columns, count);
    transpose(b.row_range(first, count), panel);
    multiply(a, panel, c.column_range(first, count));
  }
}

/// c += aᵀ · b. `scratch` holds a.columns × kDepth elements.
constexpr int64_t kDepth = 512;
template <class T>
void add_transposed_multiply(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, T* scratch) {
  for (int64_t first = 0; first < a.rows; first += kDepth) {
    const int64_t count = a.rows - first < kDepth ? a.rows - first : kDepth;
    const Matrix<T> turned = dense(scratch, a.columns, count);
    transpose(a.row_range(first, count), turned);
    multiply(turned, b.row_range(first, count), c, /*add=*/true);
  }
}

}  // namespace switchyard
