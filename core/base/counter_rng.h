#pragma once

#include <cstdint>
#include <initializer_list>

namespace switchyard {

/// Counter-based random numbers: every value is a pure function of its coordinates, so that no
/// result depends on the number of ranks, threads or the order of evaluation. SplitMix64 (Steele,
/// Lea, Flood 2014), chained over the coordinates.
constexpr uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

/// Continues a chain: hash_more(hash({a, b}), c) == hash({a, b, c}).
constexpr uint64_t hash_more(uint64_t chain, uint64_t coordinate) {
  return splitmix64(chain ^ coordinate);
}

constexpr uint64_t hash(std::initializer_list<uint64_t> coordinates) {
  uint64_t x = 0;
  for (const uint64_t c : coordinates) x = hash_more(x, c);
  return x;
}

/// Uniform in [0, 1): the high 53 bits of a hash.
constexpr double to_uniform(uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

/// U + 2⁻⁵⁴ for functions that are infinite at 0 or 1. The sum would round the largest U up to 1.
constexpr double inside_unit(double u) {
  return u < 1 - 0x1.0p-53 ? u + 0x1.0p-54 : u;
}

/// Uniform in [0, 1) at the given coordinates.
constexpr double uniform(std::initializer_list<uint64_t> coordinates) {
  return to_uniform(hash(coordinates));
}

/// Standard normal by the inverse CDF in fp64; `u` in (0, 1). Wichura 1988, algorithm AS 241
/// (PPND16).
double inverse_normal_cdf(double u);

/// The second coordinate of every draw made during a run: hash({seed, stream, step, layer, token,
/// element}).
enum class RandomStream : uint64_t {
  kWeights = 1,  ///< by parameter name and element
  kDataOrder = 2,
  kJitter = 3,         ///< element = hidden coordinate
  kSecondExpert = 4,   ///< element = 0
  kGateNoise = 5,      ///< element = expert
  kGumbel = 6,         ///< element = expert
  kCapacityOrder = 7,  ///< element = 0
  kTextSampling = 9,
  kForcedExpert = 10,  ///< element = expert
};

}  // namespace switchyard
