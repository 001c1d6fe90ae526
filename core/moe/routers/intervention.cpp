#include "core/moe/routers/intervention.h"

#include <ATen/ATen.h>

namespace switchyard {

at::Tensor count_moved(const at::Tensor& biased_TK, const at::Tensor& unbiased_TK) {
  // Column by column: [T, K] intermediates rather than [T, K, K].
  at::Tensor common = at::zeros({}, biased_TK.options());
  for (int64_t k = 0; k < unbiased_TK.size(1); ++k)
    common += biased_TK.eq(unbiased_TK.narrow(1, k, 1)).sum();
  return common.neg().add(biased_TK.numel());
}

}  // namespace switchyard
