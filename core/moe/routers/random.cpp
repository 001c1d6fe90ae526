#include "core/moe/routers/random.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "core/kernels/counter_uniform.h"

namespace switchyard {
namespace {

// Replaces each U of `uniform`, fp64 on the CPU, by quantile(U + 2⁻⁵⁴).
template <class F>
at::Tensor transformed(at::Tensor uniform, const F& quantile, const at::TensorOptions& options) {
  double* values = uniform.mutable_data_ptr<double>();
  at::parallel_for(0, uniform.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) values[i] = quantile(inside_unit(values[i]));
  });
  return uniform.to(options);
}

const at::TensorOptions kExact = at::TensorOptions().dtype(at::kDouble).device(at::kCPU);

}  // namespace

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

at::Tensor draw_normal(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                       int64_t elements, const at::TensorOptions& options) {
  return transformed(draw(context, stream, num_tokens, elements, kExact), inverse_normal_cdf,
                     options);
}

at::Tensor draw_gumbel(const RoutingContext& context, RandomStream stream, int64_t num_tokens,
                       int64_t elements, const at::TensorOptions& options) {
  return transformed(
      draw(context, stream, num_tokens, elements, kExact),
      [](double u) { return -std::log(-std::log(u)); }, options);
}

}  // namespace switchyard
