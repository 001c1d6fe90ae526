#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/autograd.h>

#include "core/base/error.h"
#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/expert_ffn.h"
#include "core/kernels/expert_passes.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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
    const PaddedRows rows = pad_rows({given.row_token_R, weight_R, given.offsets_e}, x_UD.size(0));
    const ExpertMatrices experts{gate_up_eGD.detach().contiguous(), down_eDF.detach().contiguous()};
    const ForwardResult result = forward_pass(x_UD, rows, experts);
    ctx->save_for_backward({x_UD, gate_up_eGD, down_eDF, result.gate_up_PG, rows.token_P,
                            rows.weight_P, rows.first_U, rows.place_R});
    ctx->saved_data["offsets"] = rows.offsets_e;
    ctx->saved_data["row_offsets"] = given.offsets_e;
    ctx->saved_data["accumulate"] = accumulate_into_grad;
    return result.y_UD;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const ExpertMatrices experts{saved[1].detach().contiguous(), saved[2].detach().contiguous()};
    const PaddedRows rows{ctx->saved_data["offsets"].toIntVector(),
                          ctx->saved_data["row_offsets"].toIntVector(),
                          saved[4],
                          saved[5],
                          saved[6],
                          saved[7]};
    const bool accumulate = ctx->saved_data["accumulate"].toBool();
    at::Tensor returned[2], targets[2];
    for (size_t i = 0; i < 2; ++i) {
      const at::Tensor& weight = saved[1 + i];
      if (!ctx->needs_input_grad(2 + i)) continue;
      if (adds_into_grad(weight, accumulate))
        targets[i] = weight.grad();
      else
        targets[i] = returned[i] = at::zeros_like(weight, at::MemoryFormat::Contiguous);
    }
    const BackwardInput input{saved[0], saved[3], gradients[0].contiguous()};
    const BackwardResult result = backward_pass(input, rows, experts, {targets[0], targets[1]});
    return {result.dx_UD, result.dweight_R, returned[0], returned[1], at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows,
                      const ExpertWeights& weights) {
  SWITCHYARD_CHECK(!rows.offsets_e.empty() && rows.offsets_e.back() == rows.row_token_R.size(0) &&
                       static_cast<int64_t>(rows.offsets_e.size()) - 1 == weights.down_eDF.size(0),
                   "{} offsets for {} rows and {} experts", rows.offsets_e.size(),
                   rows.row_token_R.size(0), weights.down_eDF.size(0));
  if (!has_fast_path(x_UD)) return grouped::expert_ffn(x_UD, rows, weights);
  const auto dtype = x_UD.scalar_type();
  return ExpertFfnFunction::apply(x_UD, rows.row_weight_R.to(dtype), weights.gate_up_eGD.to(dtype),
                                  weights.down_eDF.to(dtype), rows, weights.accumulate_into_grad);
}

}  // namespace switchyard
