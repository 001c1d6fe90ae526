#pragma once

#include <ATen/core/Tensor.h>

// Elementwise functions, of the shape and type of x (fp32 or fp64), differentiable. On a CPU an
// element's bits depend on its value alone: LibTorch's own forms compute what their vectors leave
// over with other instructions, so that a score would change with a token's place on its rank. What
// decides on experts, weighs them or enters a balance term uses these.
namespace switchyard {

/// Called by their qualified names: LibTorch has some of the same.
namespace elementwise {
at::Tensor exp(const at::Tensor& x);
at::Tensor log(const at::Tensor& x);
/// 1 / (1 + e^−x)
at::Tensor sigmoid(const at::Tensor& x);
/// ln(1 + e^x), exact to rounding for every x.
at::Tensor softplus(const at::Tensor& x);
/// √softplus(x), of slope 0 where it is 0: a root alone has none there.
at::Tensor root_softplus(const at::Tensor& x);
/// erfc(x) = 2 Φ(−√2 x), Φ the normal distribution function.
at::Tensor erfc(const at::Tensor& x);

/// [T, 1]: ln Σ_e e^x over each row of x_TE (finite).
at::Tensor row_logsumexp(const at::Tensor& x_TE);
}  // namespace elementwise

namespace reference::elementwise {
at::Tensor exp(const at::Tensor& x);
at::Tensor log(const at::Tensor& x);
at::Tensor sigmoid(const at::Tensor& x);
at::Tensor softplus(const at::Tensor& x);
at::Tensor root_softplus(const at::Tensor& x);
at::Tensor erfc(const at::Tensor& x);
at::Tensor row_logsumexp(const at::Tensor& x_TE);
}  // namespace reference::elementwise

}  // namespace switchyard
