#include "core/base/partition.h"

#include <catch2/catch.hpp>

namespace switchyard {

TEST_CASE("blocks are consecutive, cover everything and differ by at most one", "[partition]") {
  const auto ranks = GENERATE(1, 2, 3, 5, 8);
  const auto items = GENERATE(0, 1, 7, 32, 33);
  int64_t next = 0;
  int64_t previous = items;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const Share block = block_of(rank, ranks, items);
    CHECK(block.first == next);
    CHECK(block.count <= previous);  // the first ranks get the extra ones
    CHECK(block.count >= items / ranks);
    CHECK(block.count <= (items + ranks - 1) / ranks);
    next += block.count;
    previous = block.count;
  }
  CHECK(next == items);
}

TEST_CASE("seven items over three ranks are 3, 2, 2", "[partition]") {
  CHECK(block_of(0, 3, 7) == Share{0, 3});
  CHECK(block_of(1, 3, 7) == Share{3, 2});
  CHECK(block_of(2, 3, 7) == Share{5, 2});
}

}  // namespace switchyard
