#pragma once

#include <algorithm>
#include <cstdint>

namespace switchyard {

/// Consecutive items [first, first + count).
struct Share {
  int64_t first = 0;
  int64_t count = 0;
  bool operator==(const Share&) const = default;
};

/// The share of `rank` when `items` are cut into `ranks` consecutive blocks in rank order: blocks
/// differ by at most one item, and the first ranks get the extra ones. Blocks may be empty.
constexpr Share block_of(int64_t rank, int64_t ranks, int64_t items) {
  const int64_t base = items / ranks;
  const int64_t extra = items % ranks;
  return {rank * base + std::min(rank, extra), base + (rank < extra ? 1 : 0)};
}

}  // namespace switchyard
