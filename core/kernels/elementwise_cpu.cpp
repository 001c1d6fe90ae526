#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <cmath>
#include <numbers>

#include "core/kernels/cpu/fast_path.h"
#include "core/kernels/elementwise.h"

namespace switchyard {
namespace {

constexpr int64_t kElementsPerTask = 4096;

// A function and its derivative by x, which may use y = value(x). The functions of <cmath> are
// called one element at a time: each has one result, whatever surrounds the call.
struct Exponential {
  template <class T>
  static T value(T x) {
    return std::exp(x);
  }
  template <class T>
  static T slope(T, T y) {
    return y;
  }
};

struct Logarithm {
  template <class T>
  static T value(T x) {
    return std::log(x);
  }
  template <class T>
  static T slope(T x, T) {
    return 1 / x;
  }
};

struct Logistic {
  template <class T>
  static T value(T x) {
    return 1 / (1 + std::exp(-x));
  }
  template <class T>
  static T slope(T, T y) {
    return y * (1 - y);
  }
};

struct Softplus {
  template <class T>
  static T value(T x) {
    return (x > 0 ? x : 0) + std::log1p(std::exp(-std::abs(x)));
  }
  template <class T>
  static T slope(T x, T) {
    return Logistic::value(x);
  }
};

struct RootSoftplus {
  template <class T>
  static T value(T x) {
    return std::sqrt(Softplus::value(x));
  }
  template <class T>
  static T slope(T x, T y) {
    return y > 0 ? Logistic::value(x) / (2 * y) : 0;
  }
};

struct ComplementaryError {
  template <class T>
  static T value(T x) {
    return std::erfc(x);
  }
  template <class T>
  static T slope(T x, T) {
    return -2 * std::numbers::inv_sqrtpi_v<T> * std::exp(-x * x);
  }
};

template <class F>
void for_each_element(int64_t numel, const F& f) {
  at::parallel_for(0, numel, kElementsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

template <class Op>
class Elementwise : public torch::autograd::Function<Elementwise<Op>> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& input) {
    const at::Tensor x = input.contiguous();
    const at::Tensor y = at::empty_like(x);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "elementwise", [&] {
      const scalar_t* in = x.const_data_ptr<scalar_t>();
      scalar_t* out = y.mutable_data_ptr<scalar_t>();
      for_each_element(x.numel(), [&](int64_t i) { out[i] = Op::value(in[i]); });
    });
    ctx->save_for_backward({x, y});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor dy = gradients[0].contiguous();
    const at::Tensor dx = at::empty_like(dy);
    AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "elementwise_backward", [&] {
      const scalar_t* x = saved[0].const_data_ptr<scalar_t>();
      const scalar_t* y = saved[1].const_data_ptr<scalar_t>();
      const scalar_t* d = dy.const_data_ptr<scalar_t>();
      scalar_t* out = dx.mutable_data_ptr<scalar_t>();
      for_each_element(dy.numel(), [&](int64_t i) { out[i] = d[i] * Op::slope(x[i], y[i]); });
    });
    return {dx};
  }
};

}  // namespace

namespace elementwise {

at::Tensor exp(const at::Tensor& x) {
  return has_fast_path(x) ? Elementwise<Exponential>::apply(x) : reference::elementwise::exp(x);
}

at::Tensor log(const at::Tensor& x) {
  return has_fast_path(x) ? Elementwise<Logarithm>::apply(x) : reference::elementwise::log(x);
}

at::Tensor sigmoid(const at::Tensor& x) {
  return has_fast_path(x) ? Elementwise<Logistic>::apply(x) : reference::elementwise::sigmoid(x);
}

at::Tensor softplus(const at::Tensor& x) {
  return has_fast_path(x) ? Elementwise<Softplus>::apply(x) : reference::elementwise::softplus(x);
}

at::Tensor root_softplus(const at::Tensor& x) {
  return has_fast_path(x) ? Elementwise<RootSoftplus>::apply(x)
                          : reference::elementwise::root_softplus(x);
}

at::Tensor erfc(const at::Tensor& x) {
  return has_fast_path(x) ? Elementwise<ComplementaryError>::apply(x)
                          : reference::elementwise::erfc(x);
}

at::Tensor row_logsumexp(const at::Tensor& x_TE) {
  if (!has_fast_path(x_TE)) return reference::elementwise::row_logsumexp(x_TE);
  const at::Tensor largest_T1 = x_TE.detach().amax(-1, true);
  return largest_T1 + elementwise::log(elementwise::exp(x_TE - largest_T1).sum(-1, true));
}

}  // namespace elementwise
}  // namespace switchyard
