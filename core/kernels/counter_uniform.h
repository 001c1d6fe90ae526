#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

/// U[t, i] = to_uniform(hash_more(hash_more(chain, tokens[t]), i)) in [0, 1), [T, elements] in
/// `dtype` (fp32 or fp64; fp32 stays below 1). tokens_T: int64. The result lives where tokens_T
/// does.
at::Tensor counter_uniform(uint64_t chain, const at::Tensor& tokens_T, int64_t elements,
                           at::ScalarType dtype);

/// Fills `weight` with N(0, std²) by the inverse CDF: element i (in row-major order) is a function
/// of hash_more(chain, first_element + i) alone. Any float type and device.
void fill_normal_(const at::Tensor& weight, uint64_t chain, double std, int64_t first_element);

/// The same, cut off at two standard deviations of N(0, std²).
void fill_trunc_normal_(const at::Tensor& weight, uint64_t chain, double std,
                        int64_t first_element);

}  // namespace switchyard
