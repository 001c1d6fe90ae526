#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/kernels/causal_attention.h"
#include "core/kernels/cpu/causal_rows.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/cpu/matrix_tasks.h"

// One task = one key head of one sequence with the query heads that read it; inside, blocks of
// query positions against all the positions that they see.

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kBlock = 64;

struct Sizes {
  int64_t B, L, H, G, C;
  int64_t group() const { return H / G; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(C)); }
};

Sizes sizes_of(const at::Tensor& q_BLHC, const at::Tensor& k_BLGC) {
  return {q_BLHC.size(0), q_BLHC.size(1), q_BLHC.size(2), k_BLGC.size(2), q_BLHC.size(3)};
}

// One head of one sequence, [L, C].
template <class T>
Matrix<T> head(const at::Tensor& x_BLHC, int64_t sequence, int64_t h) {
  const int64_t L = x_BLHC.size(1), H = x_BLHC.size(2), C = x_BLHC.size(3);
  return {x_BLHC.data_ptr<T>() + (sequence * L * H + h) * C, L, C, H * C};
}

template <class T>
void forward_heads(const variable_list& qkv, const at::Tensor& y_BLHC, const at::Tensor& lse_BHL) {
  const Sizes n = sizes_of(qkv[0], qkv[1]);
  const Scratch<T> scratch((n.C + kBlock) * n.L, qkv[0].options());
  for_each_task(n.B * n.G, [&](int64_t task, int thread) {
    const int64_t sequence = task / n.G, g = task % n.G;
    const Matrix<T> keys_CL = dense(scratch.of(thread), n.C, n.L);
    const Matrix<T> buffer = dense(keys_CL.data + n.C * n.L, kBlock, n.L);
    transpose(head<T>(qkv[1], sequence, g), keys_CL);
    const Matrix<T> values = head<T>(qkv[2], sequence, g);
    for (int64_t h = g * n.group(); h < (g + 1) * n.group(); ++h) {
      const Matrix<T> q = head<T>(qkv[0], sequence, h), y = head<T>(y_BLHC, sequence, h);
      T* lse = lse_BHL.data_ptr<T>() + (sequence * n.H + h) * n.L;
      for (int64_t first = 0; first < n.L; first += kBlock) {
        const int64_t count = std::min(kBlock, n.L - first), seen = first + count;
        const Matrix<T> scores = buffer.row_range(0, count).column_range(0, seen);
        multiply(q.row_range(first, count), keys_CL.column_range(0, seen), scores);
        causal_softmax(scores, first, static_cast<T>(n.scale()), lse + first);
        multiply(scores, values.row_range(0, seen), y.row_range(first, count));
      }
    }
  });
}

template <class T>
class BackwardTask {
 public:
  // x: q, k, v, y, dy; gradients: dq, dk, dv (the last two start at zero).
  BackwardTask(const variable_list& x, const at::Tensor& lse_BHL, const variable_list& gradients,
               T* scratch)
      : x_(x), lse_BHL_(lse_BHL), gradients_(gradients), n_(sizes_of(x[0], x[1])) {
    keys_CL_ = take(scratch, n_.C, n_.L);
    values_CL_ = take(scratch, n_.C, n_.L);
    scores_ = take(scratch, kBlock, n_.L);
    dscores_ = take(scratch, kBlock, n_.L);
    turned_ = scratch;
  }
  static int64_t scratch_size(const Sizes& n) { return (2 * n.C + 3 * kBlock) * n.L; }

  void run(int64_t sequence, int64_t g) {
    transpose(head<T>(x_[1], sequence, g), keys_CL_);
    transpose(head<T>(x_[2], sequence, g), values_CL_);
    for (int64_t h = g * n_.group(); h < (g + 1) * n_.group(); ++h)
      for (int64_t first = 0; first < n_.L; first += kBlock) run_block(sequence, g, h, first);
  }

 private:
  static Matrix<T> take(T*& scratch, int64_t rows, int64_t columns) {
    const Matrix<T> taken = dense(scratch, rows, columns);
    scratch += rows * columns;
    return taken;
  }

  void run_block(int64_t sequence, int64_t g, int64_t h, int64_t first) {
    const int64_t count = std::min(kBlock, n_.L - first), seen = first + count;
    const auto rows = [&](size_t i) { return head<T>(x_[i], sequence, h).row_range(first, count); };
    const auto past = [&](const at::Tensor& of) {
      return head<T>(of, sequence, g).row_range(0, seen);
    };
    const Matrix<T> q = rows(0), y = rows(3), dy = rows(4);
    const Matrix<T> scores = scores_.row_range(0, count).column_range(0, seen);
    const Matrix<T> dscores = dscores_.row_range(0, count).column_range(0, seen);
    multiply(q, keys_CL_.column_range(0, seen), scores);
    multiply(dy, values_CL_.column_range(0, seen), dscores);
    const T* lse = lse_BHL_.const_data_ptr<T>() + (sequence * n_.H + h) * n_.L + first;
    causal_softmax_backward(
        CausalGradient<T>{scores, dscores, y, dy, first, static_cast<T>(n_.scale()), lse});
    multiply(dscores, past(x_[1]), head<T>(gradients_[0], sequence, h).row_range(first, count));
    add_transposed_multiply<T>(dscores, q, past(gradients_[1]), turned_);
    add_transposed_multiply<T>(scores, dy, past(gradients_[2]), turned_);
  }

  const variable_list& x_;
  const at::Tensor& lse_BHL_;
  const variable_list& gradients_;
  Sizes n_;
  Matrix<T> keys_CL_, values_CL_, scores_, dscores_;
  T* turned_;
};

class CausalAttentionFunction : public torch::autograd::Function<CausalAttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
    const variable_list qkv{q.contiguous(), k.contiguous(), v.contiguous()};
    at::Tensor y_BLHC = at::empty_like(qkv[0]);
    const at::Tensor lse_BHL = at::empty({q.size(0), q.size(2), q.size(1)}, q.options());
    AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "causal_attention",
                               [&] { forward_heads<scalar_t>(qkv, y_BLHC, lse_BHL); });
    ctx->save_for_backward({qkv[0], qkv[1], qkv[2], y_BLHC, lse_BHL});
    return y_BLHC;
  }

  static variable_list backward(AutogradContext* ctx, variable_list upstream) {
    variable_list x = ctx->get_saved_variables();
    const at::Tensor lse_BHL = x[4];
    x[4] = upstream[0].contiguous();
    const variable_list gradients{at::empty_like(x[0]), at::zeros_like(x[1]), at::zeros_like(x[2])};
    const Sizes n = sizes_of(x[0], x[1]);
    AT_DISPATCH_FLOATING_TYPES(x[0].scalar_type(), "causal_attention_backward", [&] {
      const Scratch<scalar_t> scratch(BackwardTask<scalar_t>::scratch_size(n), x[0].options());
      for_each_task(n.B * n.G, [&](int64_t task, int thread) {
        BackwardTask<scalar_t>(x, lse_BHL, gradients, scratch.of(thread))
            .run(task / n.G, task % n.G);
      });
    });
    return gradients;
  }
};

}  // namespace

at::Tensor causal_attention(const at::Tensor& q_BLHC, const at::Tensor& k_BLGC,
                            const at::Tensor& v_BLGC) {
  SWITCHYARD_CHECK(q_BLHC.dim() == 4 && k_BLGC.sizes() == v_BLGC.sizes() && k_BLGC.size(2) > 0 &&
                       q_BLHC.size(1) == k_BLGC.size(1) && q_BLHC.size(2) % k_BLGC.size(2) == 0,
                   "{} query heads on {}", q_BLHC.size(2), k_BLGC.size(2));
  if (!has_fast_path(q_BLHC) || q_BLHC.numel() == 0)
    return reference::causal_attention(q_BLHC, k_BLGC, v_BLGC);
  return CausalAttentionFunction::apply(q_BLHC, k_BLGC, v_BLGC);
}

}  // namespace switchyard
