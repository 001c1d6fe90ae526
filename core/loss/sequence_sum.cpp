#include "core/loss/sequence_sum.h"

namespace switchyard {

at::Tensor sum_per_sequence(const at::Tensor& values_TW, const RoutingContext& context) {
  const int64_t T = values_TW.size(0), W = values_TW.size(1);
  const int64_t S = context.num_sequences(T);
  return values_TW.to(at::kDouble).reshape({S, S > 0 ? T / S : 0, W}).sum(1);
}

}  // namespace switchyard
