#include <ATen/ATen.h>

#include "core/kernels/expert_ffn.h"
#include "core/kernels/swiglu.h"

namespace switchyard::reference {

at::Tensor expert_ffn(const at::Tensor& x_UD, const ExpertRows& rows,
                      const ExpertWeights& weights) {
  const auto dtype = x_UD.scalar_type();
  const at::Tensor gate_up_eGD = weights.gate_up_eGD.to(dtype);
  const at::Tensor down_eDF = weights.down_eDF.to(dtype);
  const at::Tensor weight_R1 = rows.row_weight_R.to(dtype).unsqueeze(1);
  at::Tensor y_UD = x_UD * 0;
  for (int64_t j = 0; j < down_eDF.size(0); ++j) {
    const int64_t first = rows.offsets_e[j], count = rows.offsets_e[j + 1] - first;
    if (count == 0) continue;
    const at::Tensor token_r = rows.row_token_R.narrow(0, first, count);
    const at::Tensor act = swiglu(at::mm(x_UD.index_select(0, token_r), gate_up_eGD[j].t()));
    y_UD = y_UD.index_add(0, token_r,
                          at::mm(act * weight_R1.narrow(0, first, count), down_eDF[j].t()));
  }
  return y_UD;
}

}  // namespace switchyard::reference
