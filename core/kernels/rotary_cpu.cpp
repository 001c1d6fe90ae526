#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include "core/base/error.h"
#include "core/kernels/cpu/clones.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/rotary.h"

namespace switchyard {
namespace {

// One (batch, position) has H heads of width 2·half that share their angles.
template <class T>
SWITCHYARD_INLINE void turn_heads(const T* x, const T* __restrict cosine, const T* __restrict sine,
                                  T sign, int64_t H, int64_t half, T* y) {
  for (int64_t h = 0; h < H; ++h) {
    const T* __restrict a = x + h * 2 * half;
    const T* __restrict b = a + half;
    T* __restrict out_a = y + h * 2 * half;
    T* __restrict out_b = out_a + half;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const T s = sign * sine[i];
      out_a[i] = a[i] * cosine[i] - b[i] * s;
      out_b[i] = b[i] * cosine[i] + a[i] * s;
    }
  }
}

template <class T>
SWITCHYARD_INLINE void turn_interleaved(const T* x, const T* __restrict cosine,
                                        const T* __restrict sine, T sign, int64_t H, int64_t half,
                                        T* y) {
  for (int64_t h = 0; h < H; ++h) {
    const T* __restrict in = x + h * 2 * half;
    T* __restrict out = y + h * 2 * half;
    for (int64_t i = 0; i < half; ++i) {
      const T s = sign * sine[i];
      out[2 * i] = in[2 * i] * cosine[i] - in[2 * i + 1] * s;
      out[2 * i + 1] = in[2 * i + 1] * cosine[i] + in[2 * i] * s;
    }
  }
}

template <class T>
struct Turn {
  const T* x;
  const T* cosine;
  const T* sine;
  T* y;
  T sign;
  int64_t L, H, half;
  bool interleaved;
};

template <class T>
SWITCHYARD_INLINE void turn_positions(const Turn<T>& turn, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t place = i * turn.H * 2 * turn.half, angle = i % turn.L * turn.half;
    if (turn.interleaved)
      turn_interleaved(turn.x + place, turn.cosine + angle, turn.sine + angle, turn.sign, turn.H,
                       turn.half, turn.y + place);
    else
      turn_heads(turn.x + place, turn.cosine + angle, turn.sine + angle, turn.sign, turn.H,
                 turn.half, turn.y + place);
  }
}

SWITCHYARD_CLONES void run(const Turn<float>& turn, int64_t begin, int64_t end) {
  turn_positions(turn, begin, end);
}
SWITCHYARD_CLONES void run(const Turn<double>& turn, int64_t begin, int64_t end) {
  turn_positions(turn, begin, end);
}

at::Tensor turned(const at::Tensor& input, const at::Tensor& cosine, const at::Tensor& sine,
                  double sign, bool interleaved) {
  const at::Tensor x = input.contiguous();
  at::Tensor y = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "apply_rotary", [&] {
    const Turn<scalar_t> turn{x.const_data_ptr<scalar_t>(),
                              cosine.const_data_ptr<scalar_t>(),
                              sine.const_data_ptr<scalar_t>(),
                              y.mutable_data_ptr<scalar_t>(),
                              static_cast<scalar_t>(sign),
                              x.size(1),
                              x.size(2),
                              x.size(3) / 2,
                              interleaved};
    at::parallel_for(0, x.size(0) * x.size(1), 32,
                     [&](int64_t begin, int64_t end) { run(turn, begin, end); });
  });
  return y;
}

class RotaryFunction : public torch::autograd::Function<RotaryFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x_BLHC,
                            const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
    ctx->save_for_backward({cosine, sine});
    ctx->saved_data["interleaved"] = interleaved;
    return turned(x_BLHC, cosine, sine, 1.0, interleaved);
  }

  // A rotation's transpose turns back.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const bool interleaved = ctx->saved_data["interleaved"].toBool();
    return {turned(gradients[0], saved[0], saved[1], -1.0, interleaved), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor apply_rotary(const at::Tensor& x_BLHC, const RotaryTables& tables, bool interleaved) {
  SWITCHYARD_CHECK(x_BLHC.dim() == 4 && x_BLHC.size(3) == 2 * tables.cos_LC.size(1) &&
                       x_BLHC.size(1) <= tables.cos_LC.size(0),
                   "{} positions of width {}", x_BLHC.size(1), x_BLHC.size(-1));
  if (!has_fast_path(x_BLHC) || tables.cos_LC.scalar_type() != x_BLHC.scalar_type())
    return reference::apply_rotary(x_BLHC, tables, interleaved);
  return RotaryFunction::apply(x_BLHC, tables.cos_LC, tables.sin_LC, interleaved);
}

}  // namespace switchyard
