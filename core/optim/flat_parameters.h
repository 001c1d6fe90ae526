#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace switchyard {

using NamedParameters = std::vector<std::pair<std::string, at::Tensor>>;

/// Where one parameter lies in its bucket.
struct ParameterRange {
  std::string name;
  at::Tensor parameter;
  int64_t first = 0, size = 0;
  bool decays = false;  ///< rank ≥ 2: weight decay applies
};

/// Parameters of one kind in one flat vector, their gradients in another of the same shape. The
/// parameters become views of `data`, their .grad() views of `grad`, and stay so: kernels add
/// weight gradients straight into the bucket. Decayed parameters come first.
class FlatBucket {
 public:
  explicit FlatBucket(const NamedParameters& parameters);

  void zero_grad();

  at::Tensor data, grad;
  const std::vector<ParameterRange>& ranges() const { return ranges_; }
  int64_t num_decayed() const { return num_decayed_; }  ///< elements, from the start

 private:
  std::vector<ParameterRange> ranges_;
  int64_t num_decayed_ = 0;
};

}  // namespace switchyard
