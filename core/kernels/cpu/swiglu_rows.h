#pragma once

#include <cstdint>

namespace switchyard {

// Building blocks of swiglu and expert_ffn. A row of `gate_up` is F gate values, then F up values.

/// act[f] = scale · silu(gate[f]) · up[f], for `rows` rows; scale_R one factor per row, null = 1.
void swiglu_rows(const float* gate_up, const float* scale_R, int64_t rows, int64_t F, float* act);
void swiglu_rows(const double* gate_up, const double* scale_R, int64_t rows, int64_t F,
                 double* act);

/// Gradients of the above given dact: dgate_up [rows, 2F]; and, when not null, act again and
/// dscale_R[r] = Σ_f dact · silu(gate) · up.
template <class T>
struct SwigluGradients {
  T* dgate_up = nullptr;
  T* act = nullptr;
  T* dscale_R = nullptr;
};
void swiglu_rows_backward(const float* gate_up, const float* scale_R, const float* dact,
                          int64_t rows, int64_t F, const SwigluGradients<float>& out);
void swiglu_rows_backward(const double* gate_up, const double* scale_R, const double* dact,
                          int64_t rows, int64_t F, const SwigluGradients<double>& out);

}  // namespace switchyard
