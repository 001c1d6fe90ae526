#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace switchyard {

/// Fills `weight` with N(0, std²): element i is a function of (seed, stream 1, name, i) alone.
void init_normal(at::Tensor weight, uint64_t seed, const std::string& name, double std);

/// The same, truncated at two standard deviations of N(0, std²).
void init_truncated_normal(at::Tensor weight, uint64_t seed, const std::string& name, double std);

}  // namespace switchyard
