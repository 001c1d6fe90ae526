#include <ATen/ATen.h>
#include <torch/autograd.h>

#include "core/kernels/expert_ffn.h"
#include "core/kernels/swiglu.h"

namespace switchyard::grouped {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows of each expert, and what a grouped product wants to know of them.
struct Groups {
  std::vector<int64_t> offsets_e;
  at::Tensor ends_e;  // int32, on the rows' device

  int64_t size() const { return static_cast<int64_t>(offsets_e.size()) - 1; }
  int64_t count(int64_t j) const { return offsets_e[j + 1] - offsets_e[j]; }
  at::Tensor of(const at::Tensor& rows, int64_t j) const {
    return rows.narrow(0, offsets_e[j], count(j));
  }
};

Groups groups_of(const ExpertRows& rows) {
  const std::vector<int32_t> ends(rows.offsets_e.begin() + 1, rows.offsets_e.end());
  return {rows.offsets_e, at::tensor(ends, at::kInt).to(rows.row_token_R.device())};
}

// One kernel for all experts: bf16 on a GPU, in rows of whole 16 bytes.
bool in_one_kernel(const at::Tensor& a_RM, const at::Tensor& b) {
  return a_RM.is_cuda() && a_RM.scalar_type() == at::kBFloat16 && a_RM.size(0) > 0 &&
         a_RM.size(1) % 8 == 0 && b.size(-1) % 8 == 0;
}

// c[r] = a[r] · b_j for the rows r of expert j.
at::Tensor times_each(const at::Tensor& a_RM, const at::Tensor& b_eMN, const Groups& groups) {
  if (in_one_kernel(a_RM, b_eMN)) return at::_grouped_mm(a_RM, b_eMN, groups.ends_e);
  at::Tensor c_RN = at::empty({a_RM.size(0), b_eMN.size(2)}, a_RM.options());
  for (int64_t j = 0; j < groups.size(); ++j) {
    if (groups.count(j) == 0) continue;
    at::Tensor c = groups.of(c_RN, j);
    at::mm_out(c, groups.of(a_RM, j), b_eMN[j]);
  }
  return c_RN;
}

// c_j = Σ_r a[r]ᵀ b[r] over the rows r of expert j; zeros where it has none.
at::Tensor outer_sums(const at::Tensor& a_RM, const at::Tensor& b_RN, const Groups& groups) {
  const bool one = in_one_kernel(a_RM, b_RN);
  at::Tensor c_eMN = one ? at::_grouped_mm(a_RM.t(), b_RN, groups.ends_e)
                         : at::empty({groups.size(), a_RM.size(1), b_RN.size(1)}, a_RM.options());
  for (int64_t j = 0; j < groups.size(); ++j) {
    at::Tensor c = c_eMN[j];
    if (groups.count(j) == 0)
      c.zero_();
    else if (!one)
      at::mm_out(c, groups.of(a_RM, j).t(), groups.of(b_RN, j));
  }
  return c_eMN;
}

// y[r] = W_j x[r].
class MapRows : public torch::autograd::Function<MapRows> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_RK, const at::Tensor& w_eNK,
                            const Groups& groups) {
    ctx->save_for_backward({x_RK, w_eNK, groups.ends_e});
    ctx->saved_data["offsets"] = groups.offsets_e;
    return times_each(x_RK, w_eNK.transpose(1, 2), groups);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const Groups groups{ctx->saved_data["offsets"].toIntVector(), saved[2]};
    const at::Tensor dy_RN = gradients[0].contiguous();
    return {times_each(dy_RN, saved[1], groups), outer_sums(dy_RN, saved[0], groups), at::Tensor()};
  }
};

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
  const Groups groups = groups_of(rows);
  const at::Tensor x_RD = GatherRows::apply(x_UD, rows.row_token_R);
  const at::Tensor gate_up_RG = MapRows::apply(x_RD, weights.gate_up_eGD.to(dtype), groups);
  const at::Tensor act_RF = swiglu(gate_up_RG) * rows.row_weight_R.to(dtype).unsqueeze(1);
  const at::Tensor y_RD = MapRows::apply(act_RF, weights.down_eDF.to(dtype), groups);
  return SumRows::apply(y_RD, rows.row_token_R, x_UD.size(0));
}

}  // namespace switchyard::grouped
