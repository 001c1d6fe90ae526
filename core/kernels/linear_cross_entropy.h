#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// Loss of a batch in nats.
struct CrossEntropy {
  at::Tensor nll_sum;  ///< fp64 scalar, differentiable: Σ over the scored tokens
  at::Tensor nll_T;    ///< of each token, at least fp32, without gradient; 0 where not scored
};

/// −log softmax(x_TD · weight_VDᵀ) at the targets. targets_T: int64, −1 = not scored, else below V.
/// On a CPU in fp32 and fp64 the logits live only for a chunk of tokens: the forward pass also
/// forms the gradients for a unit upstream gradient, and the backward pass scales them (they are
/// formed only where asked for). Other types compute in x's type with fp32 softmax.
CrossEntropy linear_cross_entropy(const at::Tensor& x_TD, const at::Tensor& weight_VD,
                                  const at::Tensor& targets_T);

namespace reference {
CrossEntropy linear_cross_entropy(const at::Tensor& x_TD, const at::Tensor& weight_VD,
                                  const at::Tensor& targets_T);
}

}  // namespace switchyard
