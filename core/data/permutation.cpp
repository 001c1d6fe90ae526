#include "core/data/permutation.h"

#include <bit>

#include "core/base/counter_rng.h"

namespace switchyard {

int64_t permute(int64_t index, int64_t size, uint64_t key) {
  const int bits = (std::bit_width(static_cast<uint64_t>(size - 1)) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  auto place = static_cast<uint64_t>(index);
  do {
    uint64_t left = place >> bits;
    uint64_t right = place & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t mixed = left ^ (hash({key, round, right}) & mask);
      left = right;
      right = mixed;
    }
    place = (left << bits) | right;
  } while (place >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(place);
}

}  // namespace switchyard
