#include <ATen/ATen.h>
#include <torch/autograd.h>

#include "core/kernels/expert_ffn.h"
#include "core/kernels/swiglu.h"

namespace switchyard::reference {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// y_UD[row_token[r]] += rows_RD[r], expert after expert: the k-th addend of every token at once, so
// that the order of each sum is fixed, on a GPU too.
at::Tensor sum_rows(const at::Tensor& rows_RD, const at::Tensor& row_token_R, int64_t num_tokens) {
  const bool narrow = rows_RD.scalar_type() != at::kDouble;
  at::Tensor y_UD = at::zeros({num_tokens, rows_RD.size(1)},
                              rows_RD.options().dtype(narrow ? at::kFloat : at::kDouble));
  if (rows_RD.size(0) == 0) return y_UD.to(rows_RD.scalar_type());
  const auto [token_R, row_R] =
      at::sort(row_token_R, /*stable=*/std::optional<bool>(true), 0);  // rows are by expert
  const at::Tensor first = at::searchsorted(token_R, at::arange(num_tokens + 1, token_R.options()));
  const at::Tensor first_U = first.slice(0, 0, -1), end_U = first.slice(0, 1);
  const auto most = (end_U - first_U).max().item<int64_t>();
  for (int64_t k = 0; k < most; ++k) {
    const at::Tensor at_U = (first_U + k).clamp_max(row_R.size(0) - 1);
    const at::Tensor addend_UD = rows_RD.index_select(0, row_R.index_select(0, at_U));
    y_UD.add_(addend_UD.masked_fill((first_U + k).ge(end_U).unsqueeze(1), 0));
  }
  return y_UD.to(rows_RD.scalar_type());
}

class GatherRows : public torch::autograd::Function<GatherRows> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_UD,
                            const at::Tensor& row_token_R) {
    ctx->save_for_backward({row_token_R});
    ctx->saved_data["tokens"] = x_UD.size(0);
    return x_UD.index_select(0, row_token_R);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    return {
        sum_rows(gradients[0], ctx->get_saved_variables()[0], ctx->saved_data["tokens"].toInt()),
        at::Tensor()};
  }
};

class SumRows : public torch::autograd::Function<SumRows> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows_RD,
                            const at::Tensor& row_token_R, int64_t num_tokens) {
    ctx->save_for_backward({row_token_R});
    return sum_rows(rows_RD, row_token_R, num_tokens);
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
  std::vector<int64_t> counts;
  for (size_t j = 0; j < gate_up.size(); ++j)
    counts.push_back(rows.offsets_e[j + 1] - rows.offsets_e[j]);
  const at::Tensor x_RD = GatherRows::apply(x_UD, rows.row_token_R);
  const std::vector<at::Tensor> x = x_RD.split_with_sizes(counts);
  const std::vector<at::Tensor> weight =
      rows.row_weight_R.to(dtype).unsqueeze(1).split_with_sizes(counts);
  std::vector<at::Tensor> results;
  for (size_t j = 0; j < gate_up.size(); ++j) {
    if (counts[j] == 0) continue;
    const at::Tensor act = swiglu(at::mm(x[j], gate_up[j].t()));
    results.push_back(at::mm(act * weight[j], down[j].t()));
  }
  // Keeps x in the graph where no expert has a row, so that its gradient is zero, not undefined.
  const at::Tensor y_RD = results.empty() ? x_RD * 1 : at::cat(results);
  return SumRows::apply(y_RD, rows.row_token_R, x_UD.size(0));
}

}  // namespace switchyard::reference
