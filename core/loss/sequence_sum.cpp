#include "core/loss/sequence_sum.h"

#include <algorithm>

namespace switchyard {

at::Tensor sum_per_sequence(const at::Tensor& values_TW, const RoutingContext& context) {
  const int64_t T = values_TW.size(0), W = values_TW.size(1);
  const int64_t S = context.num_sequences(T);
  return values_TW.to(at::kDouble).reshape({S, S > 0 ? T / S : 0, W}).sum(1);
}

double tokens_of(const at::Tensor& sums_NW, const TermContext& context) {
  return static_cast<double>(std::max<int64_t>(sums_NW.size(0) * context.sequence_length, 1));
}

}  // namespace switchyard
