#include "parallel/mesh/expert_placement.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"

using namespace switchyard;
using Experts = std::vector<int64_t>;

TEST_CASE("experts are placed in consecutive runs") {
  SECTION("equal where they divide") {
    const auto placement = ExpertPlacement(6, 3);
    CHECK(placement.num_ranks() == 3);
    CHECK(placement.num_experts() == 6);
    CHECK(placement.experts_of(1) == Experts{2, 3});
    CHECK(placement.rank_of(5) == 2);
    CHECK(placement.slot_of(5) == 1);
    CHECK(placement.most_slots() == 2);
  }
  SECTION("one more on the first ranks where they do not") {
    const auto placement = ExpertPlacement(7, 3);
    CHECK(placement.experts_of(0) == Experts{0, 1, 2});
    CHECK(placement.experts_of(1) == Experts{3, 4});
    CHECK(placement.experts_of(2) == Experts{5, 6});
    CHECK(placement.most_slots() == 3);
  }
  SECTION("none on the last ranks where there are fewer experts than ranks") {
    const auto placement = ExpertPlacement(2, 3);
    CHECK(placement.experts_of(1) == Experts{1});
    CHECK(placement.experts_of(2).empty());
  }
}

TEST_CASE("any table in which each expert appears once is a placement") {
  using Table = std::vector<Experts>;
  const auto make = [](const Table& table) { return ExpertPlacement(table); };
  const ExpertPlacement placement = make(Table{Experts{4, 0}, Experts{}, Experts{2, 3, 1}});
  CHECK(placement.rank_of(4) == 0);
  CHECK(placement.slot_of(4) == 0);
  CHECK(placement.slot_of(0) == 1);
  CHECK(placement.rank_of(1) == 2);
  CHECK(placement.slot_of(1) == 2);
  CHECK_THROWS_AS(make(Table{Experts{0, 1}, Experts{1}}), InternalError);
  CHECK_THROWS_AS(make(Table{Experts{0}, Experts{2}}), InternalError);
  CHECK_THROWS_AS(make(Table{Experts{-1}}), InternalError);
}
