#include "core/moe/routers/columns.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "core/kernels/select.h"

namespace switchyard {

at::Tensor gather_chosen(const at::Tensor& values_TE, const at::Tensor& expert_ids_TK) {
  return values_TE.gather(1, expert_ids_TK.clamp_min(0)).masked_fill(expert_ids_TK.lt(0), 0);
}

at::Tensor order_marked(const at::Tensor& keys_TE, const at::Tensor& marked_TE) {
  const at::Tensor marks_T1 = marked_TE.sum(1, true);
  const int64_t most = keys_TE.size(0) > 0 ? marks_T1.max().item<int64_t>() : 0;
  const int64_t columns = std::max<int64_t>(1, most);
  const at::Tensor limited_TE =
      keys_TE.detach().masked_fill(~marked_TE, -std::numeric_limits<double>::infinity());
  const at::Tensor ids_TK = select_top_k(limited_TE, columns);
  return ids_TK.masked_fill(at::arange(columns, ids_TK.options()).ge(marks_T1), -1);
}

}  // namespace switchyard
