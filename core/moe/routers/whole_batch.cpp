#include "core/moe/routers/whole_batch.h"

#include <ATen/ATen.h>

namespace switchyard {

WholeBatch gather_batch(const at::Tensor& rows_TE, const RoutingContext& context) {
  const at::Tensor mine = rows_TE.detach().contiguous();
  WholeBatch batch{mine, 0, mine.size(0)};
  Communicator* comm = context.communicator;
  if (!comm || comm->size() == 1) return batch;
  const at::Tensor count_1 = at::full({1}, batch.count, mine.options().dtype(at::kLong));
  const at::Tensor counts_N = gather_rows(*comm, count_1);
  batch.first = counts_N.narrow(0, 0, comm->rank()).sum().item<int64_t>();
  batch.rows = gather_rows(*comm, mine);
  return batch;
}

bool assigns_whole_batch(const RoutingContext& context) {
  return context.training || context.selection == RoutingContext::Selection::kWholeBatch;
}

}  // namespace switchyard
