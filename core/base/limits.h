#pragma once

#include <cstdint>

namespace switchyard {

// The largest sizes and numbers that a config may name, also one that is imported: far above any
// model, and small enough that what follows from each ends soon and fits in memory and 64 bits.

constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxExperts = 100'000;  ///< of a layer; also of each other count of experts
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
constexpr int64_t kMaxPositions = int64_t{1} << 24;
constexpr int64_t kMaxVocabulary = (int64_t{1} << 31) - 1;

/// Rounds to the largest number of fp32, in which models compute.
constexpr double kMaxNumber = 3.4028235e38;

}  // namespace switchyard
