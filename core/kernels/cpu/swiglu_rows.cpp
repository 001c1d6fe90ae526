#include "core/kernels/cpu/swiglu_rows.h"

#include "core/kernels/cpu/clones.h"
#include "core/kernels/cpu/exponential.h"

namespace switchyard {
namespace {

template <class T>
SWITCHYARD_INLINE void forward(const T* gate_up, const T* scale_R, int64_t rows, int64_t F,
                               T* act) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* __restrict gate = gate_up + r * 2 * F;
    const T* __restrict up = gate + F;
    T* __restrict out = act + r * F;
    const T scale = scale_R ? scale_R[r] : T(1);
#pragma omp simd
    for (int64_t f = 0; f < F; ++f) out[f] = scale * (gate[f] * fast_sigmoid(gate[f])) * up[f];
  }
}

template <class T>
SWITCHYARD_INLINE T backward_row(const T* __restrict gate, const T* __restrict dact, T scale,
                                 int64_t F, T* __restrict dgate) {
  const T* up = gate + F;
  T* dup = dgate + F;
  T dscale = 0;
#pragma omp simd reduction(+ : dscale)
  for (int64_t f = 0; f < F; ++f) {
    const T s = fast_sigmoid(gate[f]);
    const T silu = gate[f] * s;
    const T d = scale * dact[f];
    dup[f] = d * silu;
    dgate[f] = d * up[f] * (s + silu * (1 - s));
    dscale += dact[f] * silu * up[f];
  }
  return dscale;
}

template <class T>
SWITCHYARD_INLINE T backward_row(const T* __restrict gate, const T* __restrict dact, T scale,
                                 int64_t F, T* __restrict dgate, T* __restrict act) {
  const T* up = gate + F;
  T* dup = dgate + F;
  T dscale = 0;
#pragma omp simd reduction(+ : dscale)
  for (int64_t f = 0; f < F; ++f) {
    const T s = fast_sigmoid(gate[f]);
    const T silu = gate[f] * s;
    const T h = silu * up[f];
    const T d = scale * dact[f];
    act[f] = scale * h;
    dup[f] = d * silu;
    dgate[f] = d * up[f] * (s + silu * (1 - s));
    dscale += dact[f] * h;
  }
  return dscale;
}

template <class T>
SWITCHYARD_INLINE void backward(const T* gate_up, const T* scale_R, const T* dact, int64_t rows,
                                int64_t F, const SwigluGradients<T>& out) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* gate = gate_up + r * 2 * F;
    T* dgate = out.dgate_up + r * 2 * F;
    const T scale = scale_R ? scale_R[r] : T(1);
    const T dscale = out.act ? backward_row(gate, dact + r * F, scale, F, dgate, out.act + r * F)
                             : backward_row(gate, dact + r * F, scale, F, dgate);
    if (out.dscale_R) out.dscale_R[r] = dscale;
  }
}

}  // namespace

SWITCHYARD_CLONES void swiglu_rows(const float* gate_up, const float* scale_R, int64_t rows,
                                   int64_t F, float* act) {
  forward(gate_up, scale_R, rows, F, act);
}

void swiglu_rows(const double* gate_up, const double* scale_R, int64_t rows, int64_t F,
                 double* act) {
  forward(gate_up, scale_R, rows, F, act);
}

SWITCHYARD_CLONES void swiglu_rows_backward(const float* gate_up, const float* scale_R,
                                            const float* dact, int64_t rows, int64_t F,
                                            const SwigluGradients<float>& out) {
  backward(gate_up, scale_R, dact, rows, F, out);
}

void swiglu_rows_backward(const double* gate_up, const double* scale_R, const double* dact,
                          int64_t rows, int64_t F, const SwigluGradients<double>& out) {
  backward(gate_up, scale_R, dact, rows, F, out);
}

}  // namespace switchyard
