#include "core/nn/rms_norm.h"

#include "core/kernels/rms_norm.h"

namespace switchyard {

RMSNormImpl::RMSNormImpl(int64_t dim, double eps) : eps_(eps) {
  weight = register_parameter("weight", torch::ones({dim}));
}

at::Tensor RMSNormImpl::forward(const at::Tensor& x) {
  return rms_norm(x, weight, eps_);
}

}  // namespace switchyard
