#include "core/data/permutation.h"

#include <catch2/catch.hpp>
#include <set>
#include <vector>

namespace switchyard {
namespace {

std::vector<int64_t> permutation(int64_t size, uint64_t key) {
  std::vector<int64_t> places;
  for (int64_t i = 0; i < size; ++i) places.push_back(permute(i, size, key));
  return places;
}

}  // namespace

TEST_CASE("a permutation visits every place once", "[permutation]") {
  const int64_t size = GENERATE(1, 2, 3, 4, 5, 16, 17, 1000, 4097);
  const auto key = GENERATE(0, 1, 99);
  const auto places = permutation(size, key);
  const std::set<int64_t> seen(places.begin(), places.end());
  CHECK(static_cast<int64_t>(seen.size()) == size);
  CHECK(*seen.begin() == 0);
  CHECK(*seen.rbegin() == size - 1);
}

TEST_CASE("keys give different orders that look shuffled", "[permutation]") {
  const auto a = permutation(1000, 1);
  CHECK(a == permutation(1000, 1));
  CHECK(a != permutation(1000, 2));
  int fixed = 0, rising = 0;
  for (int i = 0; i < 1000; ++i) fixed += a[i] == i;
  for (int i = 1; i < 1000; ++i) rising += a[i] == a[i - 1] + 1;
  CHECK(fixed < 10);   // one is expected
  CHECK(rising < 10);  // one is expected
  double drift = 0;    // the first half holds as many low places as high ones
  for (int i = 0; i < 500; ++i) drift += a[i] < 500;
  CHECK(drift == Approx(250).margin(60));
}

}  // namespace switchyard
