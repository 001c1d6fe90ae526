#pragma once

#include <cstdint>

#include "core/kernels/rotary.h"

namespace switchyard {

/// The angles of one attention layer, made at first use in the type and on the device of its input.
class RotaryCache {
 public:
  RotaryCache(int64_t positions, int64_t width, double theta)
      : positions_(positions), width_(width), theta_(theta) {}

  /// In fp64 for fp64, else in fp32; valid until the next call.
  const RotaryTables& tables_for(const at::Tensor& x);

 private:
  int64_t positions_, width_;
  double theta_;
  RotaryTables tables_;
};

}  // namespace switchyard
