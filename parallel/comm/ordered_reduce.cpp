#include "parallel/comm/ordered_reduce.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include "core/base/error.h"

namespace switchyard {

void reduce_in_order(at::Tensor output, const std::vector<at::Tensor>& parts, ReduceOp op) {
  SWITCHYARD_CHECK(!parts.empty());
  at::NoGradGuard no_grad;
  const auto dtype = output.scalar_type() == at::kBFloat16 ? at::kFloat : output.scalar_type();
  at::Tensor result = parts[0].to(dtype, /*non_blocking=*/false, /*copy=*/true);
  for (size_t i = 1; i < parts.size(); ++i) {
    const at::Tensor part = parts[i].view(result.sizes());
    switch (op) {
      case ReduceOp::kSum:
        result.add_(part);
        break;
      case ReduceOp::kMin:
        at::minimum_out(result, result, part.to(dtype));
        break;
      case ReduceOp::kMax:
        at::maximum_out(result, result, part.to(dtype));
        break;
    }
  }
  output.copy_(result.view(output.sizes()));
}

}  // namespace switchyard
