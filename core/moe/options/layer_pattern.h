#pragma once

#include <cstdint>
#include <vector>

#include "core/config/value.h"

namespace switchyard {

/// `moe.layers`: which decoder layers are MoE layers.
struct LayerPattern {
  enum class Kind { kAll, kNone, kEvery, kFirstDense, kList } kind = Kind::kAll;
  int64_t every = 1, offset = 0, first_dense = 0;
  std::vector<int64_t> list;
  bool contains(int64_t layer) const;
  /// MoE layers among the decoder layers before `layer`.
  int64_t count_before(int64_t layer) const;
};

/// The forms of `moe.layers`; ConfigError at the value.
void read_layers(const Value& value, LayerPattern& pattern);
Value print_layers(const LayerPattern& pattern);
extern const char* const kLayerForms;

}  // namespace switchyard
