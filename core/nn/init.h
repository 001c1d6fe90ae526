#pragma once

#include <cstdint>
#include <string>

namespace at {
class Tensor;
}

namespace switchyard {

/// How the first weights are drawn.
struct WeightInit {
  double std = 0.02;       ///< of N(0, std²)
  bool truncated = false;  ///< at two deviations
  bool fan_in = false;     ///< truncated, of deviation √(0.1/columns) (Fedus 2021, section 2.4)
};

/// Fills `weight`, a matrix [out, in] or several: element i is a function of (seed, stream 1, name,
/// i) alone.
void init_weight(const at::Tensor& weight, uint64_t seed, const std::string& name,
                 const WeightInit& init);

}  // namespace switchyard
