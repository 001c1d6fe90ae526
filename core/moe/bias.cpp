#include "core/moe/bias.h"

#include <ATen/ATen.h>

#include "core/base/error.h"

namespace switchyard {

void update_bias(const BiasOptions& options, const at::Tensor& counts_E, at::Tensor& bias_E) {
  if (options.type == "none") return;
  SWITCHYARD_CHECK(options.type == "sign", "bias rule {}", options.type);
  const at::Tensor missing_E = counts_E.sum() - counts_E * counts_E.size(0);
  bias_E.add_(missing_E.sign().to(bias_E.dtype()), options.rate);
}

}  // namespace switchyard
