#include "core/kernels/counter_uniform.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "core/base/counter_rng.h"

namespace switchyard {
namespace {

template <class T>
T below_one(double u) {
  const T value = static_cast<T>(u);
  return value < T(1) ? value : std::nextafter(T(1), T(0));
}

// quantile(u) for u = U + 2⁻⁵⁴.
template <class F>
void fill(const at::Tensor& weight, uint64_t chain, int64_t first_element, const F& quantile) {
  at::Tensor values = at::empty(weight.sizes(), at::TensorOptions().dtype(at::kDouble));
  double* data = values.mutable_data_ptr<double>();
  at::parallel_for(0, values.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t bits = hash_more(chain, static_cast<uint64_t>(first_element + i));
      data[i] = quantile(inside_unit(to_uniform(bits)));
    }
  });
  weight.detach().copy_(values);
}

}  // namespace

at::Tensor counter_uniform(uint64_t chain, const at::Tensor& tokens_T, int64_t elements,
                           at::ScalarType dtype) {
  const at::Tensor tokens = tokens_T.cpu().contiguous();
  at::Tensor result = at::empty({tokens.size(0), elements}, at::TensorOptions().dtype(dtype));
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(dtype, "counter_uniform", [&] {
    scalar_t* out = result.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, tokens.size(0), 1 + 4096 / (1 + elements), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const uint64_t link = hash_more(chain, static_cast<uint64_t>(token[t]));
        for (int64_t i = 0; i < elements; ++i)
          out[t * elements + i] =
              below_one<scalar_t>(to_uniform(hash_more(link, static_cast<uint64_t>(i))));
      }
    });
  });
  return result.to(tokens_T.device());
}

void fill_normal_(const at::Tensor& weight, uint64_t chain, double std, int64_t first_element) {
  fill(weight, chain, first_element, [std](double u) { return std * inverse_normal_cdf(u); });
}

void fill_trunc_normal_(const at::Tensor& weight, uint64_t chain, double std,
                        int64_t first_element) {
  const double low = 0.5 * std::erfc(std::sqrt(2.0));  // Φ(−2)
  fill(weight, chain, first_element,
       [std, low](double u) { return std * inverse_normal_cdf(low + u * (1 - 2 * low)); });
}

}  // namespace switchyard
