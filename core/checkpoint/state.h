#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace switchyard {

/// One tensor of the training state, under its global name: `layers.3.experts.17.gate_up`,
/// `layers.3.experts.17.gate_up.exp_avg`, `step`. The name never contains a rank. `tensor` is the
/// live storage (it may be a view of a flat bucket): saving reads it, loading writes into it. A
/// rank lists every tensor that it holds; a tensor held by several ranks has the same bits on each.
struct StateItem {
  std::string name;
  at::Tensor tensor;
};
using StateList = std::vector<StateItem>;

}  // namespace switchyard
