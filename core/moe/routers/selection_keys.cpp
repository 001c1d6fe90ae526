#include "core/moe/routers/selection_keys.h"

#include <ATen/ATen.h>

namespace switchyard {

at::Tensor selection_keys(const at::Tensor& scores_TE, const at::Tensor& bias_E,
                          bool multiplicative) {
  const at::Tensor scores = scores_TE.detach();
  if (!bias_E.defined()) return scores;
  const at::Tensor bias = bias_E.to(scores.dtype());
  return multiplicative ? scores * bias : scores + bias;
}

}  // namespace switchyard
