#include <ATen/ATen.h>

#include <limits>

#include "core/kernels/select.h"

namespace switchyard::reference {

at::Tensor select_top_k(const at::Tensor& keys_TE, int64_t k) {
  const at::Tensor keys =
      keys_TE.detach().masked_fill(keys_TE.isnan(), -std::numeric_limits<double>::infinity());
  const auto sorted = at::sort(keys, /*stable=*/true, /*dim=*/-1, /*descending=*/true);
  return std::get<1>(sorted).narrow(-1, 0, k).contiguous();
}

}  // namespace switchyard::reference
