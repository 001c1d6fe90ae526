#pragma once

#include <cstdint>

#include "core/kernels/cpu/matrix.h"

namespace switchyard {

// Building blocks of causal_attention. Row i of a block of scores stands for position first + i and
// sees columns 0..first + i; `lse` holds each row's log-sum-exp of scale × score.

/// scores → probabilities, zero where not seen; fills lse.
void causal_softmax(Matrix<float> scores, int64_t first, float scale, float* lse);
void causal_softmax(Matrix<double> scores, int64_t first, double scale, double* lse);

/// scores → probabilities from lse; dprobabilities → dscores = scale · p · (dp − Σ dy · y). Rows of
/// y and dy belong to those of the block.
template <class T>
struct CausalGradient {
  Matrix<T> scores, dscores;
  Matrix<const T> y, dy;
  int64_t first;
  T scale;
  const T* lse;
};
void causal_softmax_backward(const CausalGradient<float>& block);
void causal_softmax_backward(const CausalGradient<double>& block);

}  // namespace switchyard
