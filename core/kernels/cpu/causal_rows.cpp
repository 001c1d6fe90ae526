#include "core/kernels/cpu/causal_rows.h"

#include <cmath>

#include "core/kernels/cpu/clones.h"
#include "core/kernels/cpu/exponential.h"

namespace switchyard {
namespace {

template <class T>
SWITCHYARD_INLINE void softmax(Matrix<T> scores, int64_t first, T scale, T* lse) {
  for (int64_t i = 0; i < scores.rows; ++i) {
    T* __restrict row = scores.data + i * scores.stride;
    const int64_t seen = first + i + 1;
    T largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < seen; ++j) largest = row[j] > largest ? row[j] : largest;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < seen; ++j) {
      row[j] = fast_exp(scale * (row[j] - largest));
      sum += row[j];
    }
    const T inverse = T(1) / sum;
#pragma omp simd
    for (int64_t j = 0; j < seen; ++j) row[j] *= inverse;
    for (int64_t j = seen; j < scores.columns; ++j) row[j] = 0;
    lse[i] = scale * largest + std::log(sum);
  }
}

template <class T>
SWITCHYARD_INLINE void softmax_backward(const CausalGradient<T>& block) {
  for (int64_t i = 0; i < block.scores.rows; ++i) {
    T* __restrict row = block.scores.data + i * block.scores.stride;
    T* __restrict drow = block.dscores.data + i * block.dscores.stride;
    const T* __restrict y = block.y.data + i * block.y.stride;
    const T* __restrict dy = block.dy.data + i * block.dy.stride;
    T shared = 0;
#pragma omp simd reduction(+ : shared)
    for (int64_t c = 0; c < block.y.columns; ++c) shared += y[c] * dy[c];
    const int64_t seen = block.first + i + 1;
    const T lse = block.lse[i], scale = block.scale;
#pragma omp simd
    for (int64_t j = 0; j < seen; ++j) {
      const T p = fast_exp(scale * row[j] - lse);
      row[j] = p;
      drow[j] = scale * p * (drow[j] - shared);
    }
    for (int64_t j = seen; j < block.scores.columns; ++j) row[j] = drow[j] = 0;
  }
}

}  // namespace

SWITCHYARD_CLONES void causal_softmax(Matrix<float> scores, int64_t first, float scale,
                                      float* lse) {
  softmax(scores, first, scale, lse);
}
void causal_softmax(Matrix<double> scores, int64_t first, double scale, double* lse) {
  softmax(scores, first, scale, lse);
}
SWITCHYARD_CLONES void causal_softmax_backward(const CausalGradient<float>& block) {
  softmax_backward(block);
}
void causal_softmax_backward(const CausalGradient<double>& block) {
  softmax_backward(block);
}

}  // namespace switchyard
