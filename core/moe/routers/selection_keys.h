#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// What a router with a bias selects by, without gradient: s + b, or s · b where the bias is
/// `multiplicative`; the scores themselves without a bias. In the dtype of the scores.
at::Tensor selection_keys(const at::Tensor& scores_TE, const at::Tensor& bias_E,
                          bool multiplicative);

}  // namespace switchyard
