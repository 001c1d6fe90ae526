#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/kernels/cpu/clones.h"
#include "core/kernels/cpu/exponential.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/cpu/matrix_tasks.h"
#include "core/kernels/linear_cross_entropy.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRowsPerTask = 64;
constexpr int64_t kChunkElements = int64_t{1} << 22;  // logits held at a time

template <class T>
struct Rows {
  T* logits;
  const int64_t* targets;
  T* nll;
  int64_t V;
};

// Turns each row of logits into its loss and, in place, the loss's gradient.
template <class T>
SWITCHYARD_INLINE void softmax_rows(const Rows<T>& rows, int64_t count) {
  const int64_t V = rows.V;
  for (int64_t r = 0; r < count; ++r) {
    T* __restrict row = rows.logits + r * V;
    const int64_t target = rows.targets[r];
    T largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t v = 0; v < V; ++v) largest = row[v] > largest ? row[v] : largest;
    const T target_logit = target < 0 ? largest : row[target];
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = 0; v < V; ++v) {
      row[v] = fast_exp(row[v] - largest);
      sum += row[v];
    }
    const T scale = target < 0 ? T(0) : T(1) / sum;
#pragma omp simd
    for (int64_t v = 0; v < V; ++v) row[v] *= scale;
    rows.nll[r] = target < 0 ? T(0) : std::log(sum) + (largest - target_logit);
    if (target >= 0) row[target] -= T(1);
  }
}

SWITCHYARD_CLONES void run(const Rows<float>& rows, int64_t count) {
  softmax_rows(rows, count);
}
SWITCHYARD_CLONES void run(const Rows<double>& rows, int64_t count) {
  softmax_rows(rows, count);
}

struct Gradients {
  at::Tensor dx_TD, dweight_VD;  // undefined where not wanted
};

struct Chunk {
  at::Tensor x_CD, targets_C, logits_CV, nll_C, dx_CD;
};

template <class T>
Matrix<T> view(const at::Tensor& tensor) {
  return dense(tensor.data_ptr<T>(), tensor.size(0), tensor.size(1));
}

// Logits by panels of words, then losses and input gradients by blocks of tokens, then the matrix's
// gradient by slices of words.
template <class T>
void run_chunk(const Chunk& chunk, const at::Tensor& weight_VD, const at::Tensor& dweight_VD) {
  const Matrix<T> x = view<T>(chunk.x_CD), logits = view<T>(chunk.logits_CV);
  const Matrix<T> weight = view<T>(weight_VD);
  const Scratch<T> scratch(weight.columns * kPanel, weight_VD.options());
  for_each_piece(weight.rows, kPanel, [&](int64_t first, int64_t count, int thread) {
    multiply_transposed<T>(x, weight.row_range(first, count), logits.column_range(first, count),
                           scratch.of(thread));
  });
  for_each_piece(x.rows, kRowsPerTask, [&](int64_t first, int64_t count, int) {
    run(Rows<T>{logits.row(first), chunk.targets_C.const_data_ptr<int64_t>() + first,
                chunk.nll_C.data_ptr<T>() + first, logits.columns},
        count);
    if (chunk.dx_CD.defined())
      multiply(logits.row_range(first, count), weight,
               view<T>(chunk.dx_CD).row_range(first, count));
  });
  if (dweight_VD.defined()) add_transposed_in_parallel<T>(logits, x, view<T>(dweight_VD));
}

void run_chunks(const at::Tensor& x_TD, const at::Tensor& weight_VD, const at::Tensor& targets_T,
                const at::Tensor& nll_T, const Gradients& gradients) {
  const int64_t T = x_TD.size(0), V = weight_VD.size(0);
  const int64_t limit = std::max(kRowsPerTask * 4, kChunkElements / V);
  const at::Tensor buffer = at::empty({std::min(T, limit), V}, x_TD.options());
  for (int64_t first = 0; first < T; first += limit) {
    const int64_t count = std::min(limit, T - first);
    const auto part = [&](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.narrow(0, first, count) : at::Tensor();
    };
    const Chunk chunk{part(x_TD), part(targets_T), buffer.narrow(0, 0, count), part(nll_T),
                      part(gradients.dx_TD)};
    AT_DISPATCH_FLOATING_TYPES(x_TD.scalar_type(), "linear_cross_entropy", [&] {
      run_chunk<scalar_t>(chunk, weight_VD, gradients.dweight_VD);
    });
  }
}

class CrossEntropyFunction : public torch::autograd::Function<CrossEntropyFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& targets, bool needs_dx, bool needs_dweight) {
    const at::Tensor x_TD = x.detach().contiguous(), weight_VD = weight.detach().contiguous();
    Gradients gradients;
    if (needs_dx) gradients.dx_TD = at::empty_like(x_TD);
    if (needs_dweight) gradients.dweight_VD = at::zeros_like(weight_VD);
    const at::Tensor nll_T = at::empty({x_TD.size(0)}, x_TD.options());
    run_chunks(x_TD, weight_VD, targets.contiguous(), nll_T, gradients);
    ctx->save_for_backward({gradients.dx_TD, gradients.dweight_VD});
    ctx->mark_non_differentiable({nll_T});
    return {nll_T.sum(at::kDouble), nll_T};
  }

  static variable_list backward(AutogradContext* ctx, variable_list upstream) {
    const auto saved = ctx->get_saved_variables();
    const auto scaled = [&](const at::Tensor& gradient) {
      return gradient.defined() ? gradient * upstream[0].to(gradient.scalar_type()) : at::Tensor();
    };
    return {scaled(saved[0]), scaled(saved[1]), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

void check_targets(const at::Tensor& targets_T, int64_t V) {
  if (targets_T.numel() == 0) return;
  const int64_t largest = targets_T.max().item<int64_t>();
  SWITCHYARD_CHECK(largest < V, "target {} of {} words", largest, V);
}

}  // namespace

CrossEntropy linear_cross_entropy(const at::Tensor& x_TD, const at::Tensor& weight_VD,
                                  const at::Tensor& targets_T) {
  SWITCHYARD_CHECK(x_TD.size(0) == targets_T.size(0) && x_TD.size(1) == weight_VD.size(1),
                   "{} tokens with {} targets", x_TD.size(0), targets_T.size(0));
  if (!has_fast_path(x_TD)) return reference::linear_cross_entropy(x_TD, weight_VD, targets_T);
  check_targets(targets_T, weight_VD.size(0));
  const at::Tensor weight = weight_VD.to(x_TD.scalar_type());
  const bool record = at::GradMode::is_enabled();
  const variable_list result = CrossEntropyFunction::apply(
      x_TD, weight, targets_T, record && x_TD.requires_grad(), record && weight.requires_grad());
  return {result[0], result[1]};
}

}  // namespace switchyard
