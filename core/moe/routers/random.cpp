#include "core/moe/routers/random.h"

#include "core/kernels/counter_uniform.h"

namespace switchyard {

at::Tensor draw(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                int64_t elements, const at::TensorOptions& options) {
  const uint64_t chain =
      hash({context.seed, static_cast<uint64_t>(stream), static_cast<uint64_t>(context.step),
            static_cast<uint64_t>(context.layer)});
  const at::Tensor tokens_T = at::arange(context.first_token, context.first_token + num_tokens,
                                         at::TensorOptions().dtype(at::kLong));
  return counter_uniform(chain, tokens_T, elements, at::typeMetaToScalarType(options.dtype()))
      .to(options.device());
}

}  // namespace switchyard
