#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace switchyard {

using RecomputedFunction = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// fn(inputs), keeping only the inputs for the backward pass (Chen et al. 2016): it runs fn a
/// second time with gradients on, adds the gradients of the parameters that fn uses to their .grad,
/// and returns those of the inputs. fn must be a pure function of its inputs and parameters. Inputs
/// and outputs are defined tensors; outputs may need no gradient, though float ones look as if they
/// did. Without gradients on, this is fn(inputs).
std::vector<at::Tensor> recompute(const RecomputedFunction& fn,
                                  const std::vector<at::Tensor>& inputs);

}  // namespace switchyard
