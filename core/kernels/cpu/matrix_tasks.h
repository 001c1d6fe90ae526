#pragma once

#include <ATen/ATen.h>

#include <algorithm>

#include "core/kernels/cpu/matrix.h"
#include "core/kernels/cpu/tasks.h"

namespace switchyard {

// Products spread over the threads; the cut depends on the shape alone.

/// Working memory of each thread.
template <class T>
class Scratch {
 public:
  Scratch(int64_t size, const at::TensorOptions& options)
      : buffer_(at::empty({at::get_num_threads(), (size + 15) / 16 * 16}, options)) {}
  T* of(int thread) const { return buffer_.mutable_data_ptr<T>() + thread * buffer_.stride(0); }

 private:
  at::Tensor buffer_;
};

/// Calls f(first, count, thread) for pieces of [0, total) of at most `unit`.
template <class F>
void for_each_piece(int64_t total, int64_t unit, const F& f) {
  for_each_task((total + unit - 1) / unit, [&](int64_t i, int thread) {
    f(i * unit, std::min(unit, total - i * unit), thread);
  });
}

constexpr int64_t kPieceRows = 128;

/// out = inᵀ.
template <class T>
void transpose_in_parallel(Matrix<const T> in, Matrix<T> out) {
  for_each_piece(in.rows, kPieceRows, [&](int64_t first, int64_t count, int) {
    transpose(in.row_range(first, count), out.column_range(first, count));
  });
}

/// c = a · b.
template <class T>
void multiply_in_parallel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  for_each_piece(a.rows, kPieceRows, [&](int64_t first, int64_t count, int) {
    multiply(a.row_range(first, count), b, c.row_range(first, count));
  });
}

/// c += aᵀ · b.
template <class T>
void add_transposed_in_parallel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  // Several pieces for each of a few threads, of one kernel's height.
  const int64_t unit = a.columns >= 1024 ? 128 : a.columns >= 256 ? 64 : 32;
  const Scratch<T> scratch(unit * kDepth, at::TensorOptions().dtype(c10::CppTypeToScalarType<T>()));
  for_each_piece(a.columns, unit, [&](int64_t first, int64_t count, int thread) {
    add_transposed_multiply<T>(a.column_range(first, count), b, c.row_range(first, count),
                               scratch.of(thread));
  });
}

}  // namespace switchyard
