#include <ATen/ATen.h>
#include <torch/autograd.h>

#include "core/kernels/expert_ffn.h"
#include "core/kernels/swiglu.h"

namespace switchyard::reference {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// y_UD[row_token[r]] += rows_RD[r], expert after expert: a token has one row in each, so that the
// order of the sum is fixed, on a GPU too.
at::Tensor sum_rows(const at::Tensor& rows_RD, const ExpertRows& rows, int64_t num_tokens) {
  const std::vector<int64_t>& offsets = rows.offsets_e;
  const bool narrow = rows_RD.scalar_type() != at::kDouble;
  at::Tensor y_UD = at::zeros({num_tokens, rows_RD.size(1)},
                              rows_RD.options().dtype(narrow ? at::kFloat : at::kDouble));
  for (size_t j = 0; j + 1 < offsets.size(); ++j) {
    const int64_t count = offsets[j + 1] - offsets[j];
    if (count > 0)
      y_UD.index_add_(0, rows.row_token_R.narrow(0, offsets[j], count),
                      rows_RD.narrow(0, offsets[j], count).to(y_UD.scalar_type()));
  }
  return y_UD.to(rows_RD.scalar_type());
}

class GatherRows : public torch::autograd::Function<GatherRows> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_UD, const ExpertRows& rows) {
    ctx->save_for_backward({rows.row_token_R});
    ctx->saved_data["offsets"] = rows.offsets_e;
    ctx->saved_data["tokens"] = x_UD.size(0);
    return x_UD.index_select(0, rows.row_token_R);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const ExpertRows rows{ctx->get_saved_variables()[0], at::Tensor(),
                          ctx->saved_data["offsets"].toIntVector()};
    return {sum_rows(gradients[0], rows, ctx->saved_data["tokens"].toInt()), at::Tensor()};
  }
};

class SumRows : public torch::autograd::Function<SumRows> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RD, const ExpertRows& rows,
                            int64_t num_tokens) {
    ctx->save_for_backward({rows.row_token_R});
    return sum_rows(rows_RD, rows, num_tokens);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    return {gradients[0].index_select(0, ctx->get_saved_variables()[0]), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows,
                      const ExpertWeights& weights) {
  const auto dtype = x_UD.scalar_type();
  const std::vector<at::Tensor> gate_up = weights.gate_up_eGD.to(dtype).unbind(0);
  const std::vector<at::Tensor> down = weights.down_eDF.to(dtype).unbind(0);
  const at::Tensor x_RD = GatherRows::apply(x_UD, rows);
  const at::Tensor weight_R1 = rows.row_weight_R.to(dtype).unsqueeze(1);
  std::vector<at::Tensor> results;
  for (size_t j = 0; j < gate_up.size(); ++j) {
    const int64_t first = rows.offsets_e[j], count = rows.offsets_e[j + 1] - first;
    if (count == 0) continue;
    const at::Tensor act = swiglu(at::mm(x_RD.narrow(0, first, count), gate_up[j].t()));
    results.push_back(at::mm(act * weight_R1.narrow(0, first, count), down[j].t()));
  }
  // Keeps x in the graph where no expert has a row, so that its gradient is zero, not undefined.
  const at::Tensor y_RD = results.empty() ? x_RD * 1 : at::cat(results);
  return SumRows::apply(y_RD, rows, x_UD.size(0));
}

}  // namespace switchyard::reference
