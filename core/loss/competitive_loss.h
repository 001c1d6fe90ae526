#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// How a mixture of experts explains targets when the experts compete for them:
/// E = −mean_t log Σ_i p_ti exp(−½ ‖d_t − o_ti‖²), p = softmax(logits), one expert's output at a
/// time being the whole answer.    Jacobs, Jordan, Nowlan, Hinton 1991, equation 1.3
///
/// With the posterior h_ti = p_ti exp(−½ ‖d_t − o_ti‖²) / Σ_j (the same for j), the gradients are
/// ∂E/∂o_ti = −h_ti (d_t − o_ti) / T (their equation 1.5) and ∂E/∂logit_ti = (p_ti − h_ti) / T: an
/// expert learns a target in proportion to how well it explains it already.
///
/// logits_TE; outputs_TED: each expert's output, D the width of the targets; targets_TD. All of one
/// type, fp32 or fp64; T ≥ 1. Targets are in units of the experts' noise: divide both by σ if that
/// is not 1. Returns a scalar, differentiable by all three, finite wherever they are: the sum is
/// taken in logarithms. Local: no communication.
at::Tensor competitive_loss(const at::Tensor& logits_TE, const at::Tensor& outputs_TED,
                            const at::Tensor& targets_TD);

}  // namespace switchyard
