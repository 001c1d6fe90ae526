#include "core/metrics/choice_overlap.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>
#include <cmath>

namespace switchyard {
namespace {

at::Tensor ids(const std::vector<int64_t>& values, int64_t columns) {
  return at::tensor(values, at::kLong).view({-1, columns});
}

ChoiceOverlap compared(const at::Tensor& reference_TK, const at::Tensor& other_TK) {
  return choice_overlap_of(choice_overlap(reference_TK, other_TK));
}

}  // namespace

TEST_CASE("two checkpoints' choices for five tokens") {
  // Both the same; the same in another order; one shared; none shared; no choice in the reference.
  const at::Tensor reference = ids({0, 1, 2, 3, 4, 5, 6, 7, -1, -1}, 2);
  const at::Tensor other = ids({0, 1, 3, 2, 5, 0, 1, -1, 3, -1}, 2);
  const ChoiceOverlap overlap = compared(reference, other);
  CHECK(overlap.shared == 2 + 2 + 1);
  CHECK(overlap.choices == 8);
  CHECK(overlap.shared_first == 1);
  CHECK(overlap.first_choices == 4);
  CHECK(overlap.share() == 5.0 / 8);
  CHECK(overlap.first_share() == 1.0 / 4);

  SECTION("from the other's side") {
    const ChoiceOverlap back = compared(other, reference);
    CHECK(back.shared == 5);
    CHECK(back.choices == 8);
    CHECK(back.first_choices == 5);
  }
  SECTION("with itself") {
    CHECK(compared(reference, reference).share() == 1);
    CHECK(compared(reference, reference).first_share() == 1);
  }
}

TEST_CASE("choices of a router whose tokens have any number of experts") {
  const ChoiceOverlap overlap = compared(ids({0, 1, 2, 5, -1, -1}, 3), ids({5, 2}, 1));
  CHECK(overlap.shared == 0);
  const ChoiceOverlap other = compared(ids({2, 5}, 1), ids({0, 1, 2, 5, -1, -1}, 3));
  CHECK(other.shared == 2);
  CHECK(other.choices == 2);
  CHECK(other.shared_first == 1);
}

TEST_CASE("a rank without tokens") {
  const ChoiceOverlap overlap = compared(at::zeros({0, 2}, at::kInt), at::zeros({0, 2}, at::kInt));
  CHECK(overlap.choices == 0);
  CHECK(std::isnan(overlap.share()));
  CHECK(std::isnan(overlap.first_share()));
}

}  // namespace switchyard
