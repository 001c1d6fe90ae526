#include "core/optim/flat_parameters.h"

#include <ATen/ATen.h>

#include "core/base/error.h"

namespace switchyard {

FlatBucket::FlatBucket(const NamedParameters& parameters) {
  int64_t total = 0;
  for (const bool decays : {true, false}) {
    for (const auto& [name, parameter] : parameters) {
      if ((parameter.dim() >= 2) != decays) continue;
      ranges_.push_back({name, parameter, total, parameter.numel(), decays});
      total += parameter.numel();
      if (decays) num_decayed_ = total;
    }
  }
  const at::TensorOptions options =
      parameters.empty() ? at::TensorOptions() : parameters.front().second.options();
  data = at::zeros({total}, options.requires_grad(false));
  grad = at::zeros_like(data);
  at::NoGradGuard no_grad;
  for (ParameterRange& range : ranges_) {
    SWITCHYARD_CHECK(range.parameter.scalar_type() == data.scalar_type(),
                     "{} has another dtype than its bucket", range.name);
    const at::Tensor view = data.narrow(0, range.first, range.size).view(range.parameter.sizes());
    view.copy_(range.parameter);
    range.parameter.set_data(view);
    range.parameter.mutable_grad() =
        grad.narrow(0, range.first, range.size).view(range.parameter.sizes());
  }
}

void FlatBucket::zero_grad() {
  grad.zero_();
}

}  // namespace switchyard
