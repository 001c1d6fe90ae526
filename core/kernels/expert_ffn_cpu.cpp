#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/autograd.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/kernels/expert_ffn.h"
#include "core/kernels/fast_path.h"
#include "core/kernels/row_moves.h"
#include "core/kernels/swiglu_rows.h"
#include "core/kernels/tasks.h"

// One task = one block of rows of one expert (forward, input gradients) or one slice of one
// expert's matrix (weight gradients), each a matrix product on one thread. The cut depends on the
// shape alone.

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRowsPerTask = 128;
constexpr int64_t kSliceRows = 256;
constexpr int64_t kRowsPerWave = 4096;  // bounds the backward pass's buffers

struct Block {
  int64_t expert, first, count;
};

// Cuts experts [begin, end) into blocks of nearly equal size, at most `limit` rows each.
std::vector<Block> cut_rows(const std::vector<int64_t>& offsets, int64_t begin, int64_t end,
                            int64_t limit) {
  std::vector<Block> blocks;
  for (int64_t j = begin; j < end; ++j) {
    const int64_t first = offsets[j], count = offsets[j + 1] - first;
    const int64_t pieces = (count + limit - 1) / limit;
    for (int64_t i = 0; i < pieces; ++i) {
      const int64_t from = count * i / pieces, to = count * (i + 1) / pieces;
      blocks.push_back({j, first + from, to - from});
    }
  }
  return blocks;
}

// The matrices as plain tensors, outside autograd.
struct Experts {
  at::Tensor gate_up_eGD, down_eDF;
  int64_t F() const { return down_eDF.size(2); }
};

at::Tensor forward_rows(const at::Tensor& x_UD, const ExpertRows& rows, const Experts& experts,
                        const at::Tensor& gate_up_RG) {
  at::Tensor y_RD = at::empty({gate_up_RG.size(0), x_UD.size(1)}, x_UD.options());
  const int64_t num_experts = static_cast<int64_t>(rows.offsets_e.size()) - 1;
  const std::vector<Block> blocks = cut_rows(rows.offsets_e, 0, num_experts, kRowsPerTask);
  for_each_task(static_cast<int64_t>(blocks.size()), [&](int64_t i) {
    const Block& b = blocks[static_cast<size_t>(i)];
    const at::Tensor x_bD = gather_rows(x_UD, rows.row_token_R.narrow(0, b.first, b.count));
    at::Tensor gate_up_bG = gate_up_RG.narrow(0, b.first, b.count);
    at::mm_out(gate_up_bG, x_bD, experts.gate_up_eGD.select(0, b.expert).t());
    at::Tensor act_bF = at::empty({b.count, experts.F()}, x_UD.options());
    AT_DISPATCH_FLOATING_TYPES(x_UD.scalar_type(), "expert_ffn", [&] {
      swiglu_rows(gate_up_bG.const_data_ptr<scalar_t>(),
                  rows.row_weight_R.const_data_ptr<scalar_t>() + b.first, b.count, experts.F(),
                  act_bF.mutable_data_ptr<scalar_t>());
    });
    at::Tensor y_bD = y_RD.narrow(0, b.first, b.count);
    at::mm_out(y_bD, act_bF, experts.down_eDF.select(0, b.expert).t());
  });
  return y_RD;
}

// What the backward pass holds for the rows of one wave.
struct Wave {
  int64_t first_expert, last_expert, first_row, rows;
  at::Tensor x_RD, dy_RD, act_RF, dgate_up_RG;
};

class Backward {
 public:
  Backward(const at::Tensor& x_UD, const ExpertRows& rows, const Experts& experts,
           const at::Tensor& gate_up_RG, const at::Tensor& dy_UD)
      : x_UD_(x_UD), rows_(rows), experts_(experts), gate_up_RG_(gate_up_RG), dy_UD_(dy_UD) {}

  /// Adds the weights' gradients to dexperts where those are defined.
  void run(const Experts& dexperts) {
    const int64_t R = gate_up_RG_.size(0);
    dx_RD = at::empty({R, x_UD_.size(1)}, x_UD_.options());
    dweight_R = at::empty({R}, x_UD_.options());
    const int64_t num_experts = static_cast<int64_t>(rows_.offsets_e.size()) - 1;
    for (int64_t first = 0, last = 0; first < num_experts; first = last) {
      last = first + 1;
      while (last < num_experts && offset(last + 1) - offset(first) <= kRowsPerWave) ++last;
      if (offset(last) == offset(first)) continue;
      Wave wave = make_wave(first, last);
      input_gradients(wave);
      weight_gradients(wave, dexperts);
    }
  }

  at::Tensor dx_RD, dweight_R;

 private:
  int64_t offset(int64_t expert) const { return rows_.offsets_e[static_cast<size_t>(expert)]; }

  Wave make_wave(int64_t first, int64_t last) const {
    const int64_t rows = offset(last) - offset(first), D = x_UD_.size(1), F = experts_.F();
    const auto empty = [&](int64_t width) { return at::empty({rows, width}, x_UD_.options()); };
    return {first, last, offset(first), rows, empty(D), empty(D), empty(F), empty(2 * F)};
  }

  void input_gradients(Wave& wave) {
    const auto blocks =
        cut_rows(rows_.offsets_e, wave.first_expert, wave.last_expert, kRowsPerTask);
    for_each_task(static_cast<int64_t>(blocks.size()), [&](int64_t i) {
      const Block& b = blocks[static_cast<size_t>(i)];
      const int64_t place = b.first - wave.first_row;
      const at::Tensor tokens = rows_.row_token_R.narrow(0, b.first, b.count);
      gather_rows_out(x_UD_, tokens, wave.x_RD.narrow(0, place, b.count));
      at::Tensor dy_bD = wave.dy_RD.narrow(0, place, b.count);
      gather_rows_out(dy_UD_, tokens, dy_bD);
      const at::Tensor dact_bF = at::mm(dy_bD, experts_.down_eDF.select(0, b.expert));
      at::Tensor dgate_up_bG = wave.dgate_up_RG.narrow(0, place, b.count);
      activation_gradients(b, dact_bF, wave.act_RF.narrow(0, place, b.count), dgate_up_bG);
      at::Tensor dx_bD = dx_RD.narrow(0, b.first, b.count);
      at::mm_out(dx_bD, dgate_up_bG, experts_.gate_up_eGD.select(0, b.expert));
    });
  }

  void activation_gradients(const Block& b, const at::Tensor& dact_bF, const at::Tensor& act_bF,
                            const at::Tensor& dgate_up_bG) {
    AT_DISPATCH_FLOATING_TYPES(dact_bF.scalar_type(), "expert_ffn_backward", [&] {
      const SwigluGradients<scalar_t> out{dgate_up_bG.data_ptr<scalar_t>(),
                                          act_bF.data_ptr<scalar_t>(),
                                          dweight_R.data_ptr<scalar_t>() + b.first};
      swiglu_rows_backward(gate_up_RG_.const_data_ptr<scalar_t>() + b.first * gate_up_RG_.size(1),
                           rows_.row_weight_R.const_data_ptr<scalar_t>() + b.first,
                           dact_bF.const_data_ptr<scalar_t>(), b.count, experts_.F(), out);
    });
  }

  struct Slice {
    const at::Tensor* left;   // rows × height: the matrix's height comes from here
    const at::Tensor* right;  // rows × width
    at::Tensor target;        // height × width
    int64_t expert, first, height;
  };

  static void add_slices(const at::Tensor& left, const at::Tensor& right,
                         const at::Tensor& target_eHW, int64_t expert, std::vector<Slice>& slices) {
    if (!target_eHW.defined()) return;
    const int64_t height = target_eHW.size(1);
    for (int64_t first = 0; first < height; first += kSliceRows)
      slices.push_back(
          {&left, &right, target_eHW, expert, first, std::min(kSliceRows, height - first)});
  }

  void weight_gradients(const Wave& wave, const Experts& dexperts) {
    std::vector<Slice> slices;
    for (int64_t j = wave.first_expert; j < wave.last_expert; ++j) {
      if (offset(j) == offset(j + 1)) continue;
      add_slices(wave.dgate_up_RG, wave.x_RD, dexperts.gate_up_eGD, j, slices);
      add_slices(wave.dy_RD, wave.act_RF, dexperts.down_eDF, j, slices);
    }
    for_each_task(static_cast<int64_t>(slices.size()), [&](int64_t i) {
      const Slice& s = slices[static_cast<size_t>(i)];
      const int64_t place = offset(s.expert) - wave.first_row;
      const int64_t count = offset(s.expert + 1) - offset(s.expert);
      const at::Tensor left = s.left->narrow(0, place, count).narrow(1, s.first, s.height);
      at::Tensor target = s.target.select(0, s.expert).narrow(0, s.first, s.height);
      at::addmm_out(target, target, left.t(), s.right->narrow(0, place, count));
    });
  }

  const at::Tensor& x_UD_;
  const ExpertRows& rows_;
  const Experts& experts_;
  const at::Tensor& gate_up_RG_;
  const at::Tensor& dy_UD_;
};

bool adds_into_grad(const at::Tensor& weight, bool wanted) {
  return wanted && weight.is_leaf() && weight.grad().defined() && weight.grad().is_contiguous();
}

class ExpertFfnFunction : public torch::autograd::Function<ExpertFfnFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& weight_R, const at::Tensor& gate_up_eGD,
                            const at::Tensor& down_eDF, const ExpertRows& given,
                            bool accumulate_into_grad) {
    const at::Tensor x_UD = input.contiguous();
    const ExpertRows rows{given.row_token_R, weight_R.contiguous(), given.offsets_e};
    const Experts experts{gate_up_eGD.detach().contiguous(), down_eDF.detach().contiguous()};
    const at::Tensor gate_up_RG =
        at::empty({rows.row_token_R.size(0), 2 * experts.F()}, x_UD.options());
    const at::Tensor y_RD = forward_rows(x_UD, rows, experts, gate_up_RG);
    const TokenRows token_rows = rows_of_tokens(rows.row_token_R, x_UD.size(0));
    ctx->save_for_backward({x_UD, rows.row_weight_R, gate_up_eGD, down_eDF, rows.row_token_R,
                            gate_up_RG, token_rows.first_U, token_rows.row_R});
    ctx->saved_data["offsets"] = rows.offsets_e;
    ctx->saved_data["accumulate"] = accumulate_into_grad;
    return sum_rows_of_tokens(y_RD, token_rows);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const ExpertRows rows{saved[4], saved[1], ctx->saved_data["offsets"].toIntVector()};
    const Experts experts{saved[2].detach().contiguous(), saved[3].detach().contiguous()};
    const at::Tensor dy_UD = gradients[0].contiguous();
    const bool accumulate = ctx->saved_data["accumulate"].toBool();
    at::Tensor returned[2], targets[2];
    for (int i = 0; i < 2; ++i) {
      const at::Tensor& weight = saved[static_cast<size_t>(2 + i)];
      if (!ctx->needs_input_grad(static_cast<size_t>(2 + i))) continue;
      if (adds_into_grad(weight, accumulate))
        targets[i] = weight.grad();
      else
        targets[i] = returned[i] = at::zeros_like(weight, at::MemoryFormat::Contiguous);
    }
    Backward pass(saved[0], rows, experts, saved[5], dy_UD);
    pass.run(Experts{targets[0], targets[1]});
    return {sum_rows_of_tokens(pass.dx_RD, {saved[6], saved[7]}),
            pass.dweight_R,
            returned[0],
            returned[1],
            at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows,
                      const ExpertWeights& weights) {
  SWITCHYARD_CHECK(!rows.offsets_e.empty() && rows.offsets_e.back() == rows.row_token_R.size(0) &&
                       static_cast<int64_t>(rows.offsets_e.size()) - 1 == weights.down_eDF.size(0),
                   "{} offsets for {} rows and {} experts", rows.offsets_e.size(),
                   rows.row_token_R.size(0), weights.down_eDF.size(0));
  if (!has_fast_path(x_UD)) return reference::expert_ffn(x_UD, rows, weights);
  const auto dtype = x_UD.scalar_type();
  return ExpertFfnFunction::apply(x_UD, rows.row_weight_R.to(dtype), weights.gate_up_eGD.to(dtype),
                                  weights.down_eDF.to(dtype), rows, weights.accumulate_into_grad);
}

}  // namespace switchyard
