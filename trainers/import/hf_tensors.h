#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "trainers/import/hf_config.h"

namespace switchyard {

/// One tensor of a Hugging Face model, or one expert of a fused one.
struct HfPart {
  std::string name;
  std::vector<int64_t> shape;  ///< of the whole tensor
  int64_t expert = -1;         ///< index into its first dim; −1 = all of it
};

/// One weight or buffer of ours and what it is made of.
struct HfTarget {
  std::string name;           ///< global name, "layers.3.experts.17.gate_up"
  std::vector<HfPart> parts;  ///< joined along the rows: gate, then up
};

/// Everything that a model of this config consists of, by our names. `names` are those that the
/// folder has: they tell experts of a tensor each (`experts.17.gate_proj.weight`) from fused ones
/// (`experts.gate_up_proj` [E, 2F, D], gate rows first, and `experts.down_proj` [E, D, F]). Local;
/// throws nothing.
std::vector<HfTarget> hf_targets(const HfModel& model, const std::set<std::string>& names);

/// The tensor of a target, from what `read` gives for a name: of the shape of that part, in any
/// dtype, which is the result's. May be a view of it. Local; throws what `read` throws.
at::Tensor assemble(const HfTarget& target,
                    const std::function<at::Tensor(const std::string&)>& read);

}  // namespace switchyard
