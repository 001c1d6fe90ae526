#include "core/kernels/expert_passes.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>

#include <algorithm>

#include "core/kernels/cpu/matrix_tasks.h"
#include "core/kernels/cpu/row_moves.h"
#include "core/kernels/cpu/swiglu_rows.h"

// One task = one block of rows of one expert (values, input gradients) or one slice of one expert's
// matrix (its gradient), on one thread. The cut depends on the shape alone.

namespace switchyard {
namespace {

constexpr int64_t kBlockRows = 256;
constexpr int64_t kSliceRows = 128;
constexpr int64_t kWaveRows = 4096;  // bounds the backward pass's buffers

struct Block {
  int64_t expert, first, count;
};

int64_t round_up(int64_t count, int64_t unit) {
  return (count + unit - 1) / unit * unit;
}

// Cuts the rows of experts [begin, end) into blocks of nearly equal size.
std::vector<Block> cut_rows(const std::vector<int64_t>& offsets, size_t begin, size_t end) {
  std::vector<Block> blocks;
  for (size_t j = begin; j < end; ++j) {
    const int64_t first = offsets[j], last = offsets[j + 1];
    const int64_t pieces = (last - first + kBlockRows - 1) / kBlockRows;
    for (int64_t i = 0, from = first; i < pieces; ++i) {
      const int64_t size = round_up((last - from) / (pieces - i), kRowPad);
      const int64_t to = i + 1 == pieces ? last : std::min(last, from + size);
      if (to > from) blocks.push_back({static_cast<int64_t>(j), from, to - from});
      from = to;
    }
  }
  return blocks;
}

template <class T>
Matrix<const T> view(const at::Tensor& tensor) {
  return dense(tensor.const_data_ptr<T>(), tensor.size(0), tensor.size(1));
}
template <class T>
Matrix<T> mutable_view(const at::Tensor& tensor) {
  return dense(tensor.data_ptr<T>(), tensor.size(0), tensor.size(1));
}
template <class T>
Matrix<const T> expert_view(const at::Tensor& stack, int64_t expert) {
  return dense(stack.const_data_ptr<T>() + expert * stack.stride(0), stack.size(1), stack.size(2));
}

template <class T>
void forward_blocks(const at::Tensor& x_UD, const PaddedRows& rows, const ExpertMatrices& experts,
                    const at::Tensor& gate_up_PG, const at::Tensor& y_PD) {
  const int64_t D = x_UD.size(1), F = experts.down_eDF.size(2);
  const auto blocks = cut_rows(rows.offsets_e, 0, rows.offsets_e.size() - 1);
  Scratch<T> scratch(kBlockRows * (D + F) + std::max(D, F) * kPanel, x_UD.options());
  for_each_task(static_cast<int64_t>(blocks.size()), [&](int64_t i, int thread) {
    const Block& b = blocks[static_cast<size_t>(i)];
    const Matrix<T> x = dense(scratch.of(thread), b.count, D);
    const Matrix<T> act = dense(x.data + kBlockRows * D, b.count, F);
    T* panel = act.data + kBlockRows * F;
    gather_rows(view<T>(x_UD), rows.token_P.const_data_ptr<int64_t>() + b.first, x);
    const Matrix<T> gate_up = mutable_view<T>(gate_up_PG).row_range(b.first, b.count);
    multiply_transposed<T>(x, expert_view<T>(experts.gate_up_eGD, b.expert), gate_up, panel);
    swiglu_rows(gate_up.data, rows.weight_P.const_data_ptr<T>() + b.first, b.count, F, act.data);
    multiply_transposed<T>(act, expert_view<T>(experts.down_eDF, b.expert),
                           mutable_view<T>(y_PD).row_range(b.first, b.count), panel);
  });
}

template <class T>
class Backward {
 public:
  Backward(const BackwardInput& input, const PaddedRows& rows, const ExpertMatrices& experts)
      : input_(input),
        rows_(rows),
        experts_(experts),
        D_(input.x_UD.size(1)),
        F_(experts.down_eDF.size(2)),
        scratch_(std::max(kBlockRows * F_, kSliceRows * kDepth), input.x_UD.options()) {}

  /// Experts in waves that share the row buffers.
  void run(const ExpertMatrices& targets, const at::Tensor& dx_PD, const at::Tensor& dweight_P) {
    const size_t num_experts = rows_.offsets_e.size() - 1;
    for (size_t first = 0, last = 0; first < num_experts; first = last) {
      last = first + 1;
      while (last < num_experts && rows_.offsets_e[last + 1] - rows_.offsets_e[first] <= kWaveRows)
        ++last;
      first_row_ = rows_.offsets_e[first];
      const int64_t count = rows_.offsets_e[last] - first_row_;
      if (count == 0) continue;
      reserve(count);
      input_gradients(cut_rows(rows_.offsets_e, first, last), dx_PD, dweight_P);
      matrix_gradients(first, last, targets);
    }
  }

 private:
  void reserve(int64_t count) {
    if (x_.defined() && x_.size(0) >= count) return;
    const auto rows = [&](int64_t width) {
      return at::empty({count, width}, input_.x_UD.options());
    };
    x_ = rows(D_);
    dy_ = rows(D_);
    act_ = rows(F_);
    dgate_up_ = rows(2 * F_);
  }

  Matrix<T> part(const at::Tensor& buffer, int64_t first, int64_t count) const {
    return mutable_view<T>(buffer).row_range(first - first_row_, count);
  }

  void input_gradients(const std::vector<Block>& blocks, const at::Tensor& dx_PD,
                       const at::Tensor& dweight_P) {
    for_each_task(static_cast<int64_t>(blocks.size()), [&](int64_t i, int thread) {
      const Block& b = blocks[static_cast<size_t>(i)];
      const int64_t* tokens = rows_.token_P.const_data_ptr<int64_t>() + b.first;
      const Matrix<T> dy = part(dy_, b.first, b.count);
      gather_rows(view<T>(input_.x_UD), tokens, part(x_, b.first, b.count));
      gather_rows(view<T>(input_.dy_UD), tokens, dy);
      const Matrix<T> dact = dense(scratch_.of(thread), b.count, F_);
      multiply(dy, expert_view<T>(experts_.down_eDF, b.expert), dact);
      const Matrix<T> dgate_up = part(dgate_up_, b.first, b.count);
      const SwigluGradients<T> out{dgate_up.data, part(act_, b.first, b.count).data,
                                   dweight_P.data_ptr<T>() + b.first};
      swiglu_rows_backward(view<T>(input_.gate_up_PG).row(b.first),
                           rows_.weight_P.const_data_ptr<T>() + b.first, dact.data, b.count, F_,
                           out);
      multiply(dgate_up, expert_view<T>(experts_.gate_up_eGD, b.expert),
               mutable_view<T>(dx_PD).row_range(b.first, b.count));
    });
  }

  struct Slice {
    Matrix<T> left, right, target;  // target += leftᵀ · right
  };

  void add_slices(const at::Tensor& left, const at::Tensor& right, const at::Tensor& target,
                  size_t expert, std::vector<Slice>& slices) const {
    const int64_t first = rows_.offsets_e[expert], count = rows_.offsets_e[expert + 1] - first;
    if (!target.defined() || count == 0) return;
    const Matrix<T> whole =
        dense(target.data_ptr<T>() + static_cast<int64_t>(expert) * target.stride(0),
              target.size(1), target.size(2));
    for (int64_t from = 0; from < whole.rows; from += kSliceRows) {
      const int64_t height = std::min(kSliceRows, whole.rows - from);
      slices.push_back({part(left, first, count).column_range(from, height),
                        part(right, first, count), whole.row_range(from, height)});
    }
  }

  void matrix_gradients(size_t first, size_t last, const ExpertMatrices& targets) {
    std::vector<Slice> slices;
    for (size_t j = first; j < last; ++j) {
      add_slices(dgate_up_, x_, targets.gate_up_eGD, j, slices);
      add_slices(dy_, act_, targets.down_eDF, j, slices);
    }
    for_each_task(static_cast<int64_t>(slices.size()), [&](int64_t i, int thread) {
      const Slice& s = slices[static_cast<size_t>(i)];
      add_transposed_multiply<T>(s.left, s.right, s.target, scratch_.of(thread));
    });
  }

  const BackwardInput& input_;
  const PaddedRows& rows_;
  const ExpertMatrices& experts_;
  int64_t D_, F_;
  Scratch<T> scratch_;
  int64_t first_row_ = 0;
  at::Tensor x_, dy_, act_, dgate_up_;
};

}  // namespace

PaddedRows pad_rows(const ExpertRows& rows, int64_t num_tokens) {
  PaddedRows padded;
  padded.row_offsets_e = rows.offsets_e;
  padded.offsets_e.push_back(0);
  for (size_t j = 0; j + 1 < rows.offsets_e.size(); ++j)
    padded.offsets_e.push_back(padded.offsets_e.back() +
                               round_up(rows.offsets_e[j + 1] - rows.offsets_e[j], kRowPad));
  const int64_t P = padded.offsets_e.back();
  padded.token_P = at::full({P}, -1, rows.row_token_R.options());
  padded.weight_P = at::zeros({P}, rows.row_weight_R.options());
  for (size_t j = 0; j + 1 < rows.offsets_e.size(); ++j) {
    const int64_t count = rows.offsets_e[j + 1] - rows.offsets_e[j];
    if (count == 0) continue;
    padded.token_P.narrow(0, padded.offsets_e[j], count)
        .copy_(rows.row_token_R.narrow(0, rows.offsets_e[j], count));
    padded.weight_P.narrow(0, padded.offsets_e[j], count)
        .copy_(rows.row_weight_R.detach().narrow(0, rows.offsets_e[j], count));
  }
  const TokenRows token_rows = rows_of_tokens(padded.token_P, num_tokens);
  padded.first_U = token_rows.first_U;
  padded.place_R = token_rows.place_R;
  return padded;
}

ForwardResult forward_pass(const at::Tensor& x_UD, const PaddedRows& rows,
                           const ExpertMatrices& experts) {
  const int64_t P = rows.offsets_e.back();
  ForwardResult result;
  result.gate_up_PG = at::empty({P, 2 * experts.down_eDF.size(2)}, x_UD.options());
  const at::Tensor y_PD = at::empty({P, x_UD.size(1)}, x_UD.options());
  AT_DISPATCH_FLOATING_TYPES(x_UD.scalar_type(), "expert_ffn", [&] {
    forward_blocks<scalar_t>(x_UD, rows, experts, result.gate_up_PG, y_PD);
  });
  result.y_UD = sum_rows_of_tokens(y_PD, {rows.first_U, rows.place_R});
  return result;
}

BackwardResult backward_pass(const BackwardInput& input, const PaddedRows& rows,
                             const ExpertMatrices& experts, const ExpertMatrices& targets) {
  const int64_t P = rows.offsets_e.back();
  const at::Tensor dx_PD = at::empty({P, input.x_UD.size(1)}, input.x_UD.options());
  const at::Tensor dweight_P = at::empty({P}, input.x_UD.options());
  AT_DISPATCH_FLOATING_TYPES(input.x_UD.scalar_type(), "expert_ffn_backward", [&] {
    Backward<scalar_t>(input, rows, experts).run(targets, dx_PD, dweight_P);
  });
  BackwardResult result;
  result.dx_UD = sum_rows_of_tokens(dx_PD, {rows.first_U, rows.place_R});
  std::vector<at::Tensor> parts;
  for (size_t j = 0; j + 1 < rows.offsets_e.size(); ++j)
    parts.push_back(
        dweight_P.narrow(0, rows.offsets_e[j], rows.row_offsets_e[j + 1] - rows.row_offsets_e[j]));
  result.dweight_R = parts.empty() ? dweight_P : at::cat(parts);
  return result;
}

}  // namespace switchyard
