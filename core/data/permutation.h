#pragma once

#include <cstdint>

namespace switchyard {

/// Place of `index` in a pseudo-random permutation of [0, size), at random access: a four-round
/// Feistel network over the next power of four, walked until it falls inside (Black & Rogaway
/// 2002).
int64_t permute(int64_t index, int64_t size, uint64_t key);

}  // namespace switchyard
