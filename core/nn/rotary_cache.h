#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/base/error.h"
#include "core/kernels/rotary.h"
#include "core/nn/rope.h"

namespace switchyard {

/// The angles of one attention layer, made at first use in the type and on the device of its input,
/// for as many positions as inputs had so far.
class RotaryCache {
 public:
  /// For heads of `width`.
  RotaryCache(const RopeOptions& options, int64_t width) : options_(options), width_(width) {}

  /// For any x of [B, L, ...], L ≤ max_seq_len: in fp64 for fp64, else in fp32; valid until the
  /// next call.
  const RotaryTables& tables_for(const at::Tensor& x) {
    const int64_t length = x.size(1);
    SWITCHYARD_CHECK(length <= options_.max_seq_len, "{} positions", length);
    const auto dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor& cosine = tables_.cos_LC;
    if (!cosine.defined() || cosine.scalar_type() != dtype || cosine.device() != x.device() ||
        cosine.size(0) < length) {
      const auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(length)));
      const int64_t positions = std::min(rounded, options_.max_seq_len);
      const RotaryTables made = make_rotary_tables(positions, rope_frequencies(options_, width_),
                                                   rope_amplitude(options_.scaling), dtype);
      tables_ = {made.cos_LC.to(x.device()), made.sin_LC.to(x.device())};
    }
    return tables_;
  }

 private:
  RopeOptions options_;
  int64_t width_;
  RotaryTables tables_;
};

}  // namespace switchyard
