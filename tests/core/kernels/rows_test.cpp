#include "core/kernels/rows.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>

namespace switchyard {
namespace {

TEST_CASE("plan_rows sorts the kept assignments by expert, then token") {
  const at::Tensor ids = at::tensor({2, 0, 0, -1, 2, 1}, at::kLong).view({3, 2});
  const at::Tensor kept = at::tensor({1, 1, 1, 0, 1, 0}).view({3, 2}).to(at::kBool);
  const RowPlan plan = plan_rows(ids, kept, 4);
  CHECK(plan.offsets_E == std::vector<int64_t>{0, 2, 2, 4, 4});
  CHECK(at::equal(plan.row_token_R, at::tensor({0, 1, 0, 2}, at::kLong)));
  CHECK(at::equal(plan.row_assignment_R, at::tensor({1, 2, 0, 4}, at::kLong)));
}

TEST_CASE("plan_rows ignores an id of -1 even when it is marked as kept") {
  const RowPlan plan = plan_rows(at::full({2, 1}, -1, at::kLong), at::ones({2, 1}, at::kBool), 3);
  CHECK(plan.offsets_E == std::vector<int64_t>{0, 0, 0, 0});
  CHECK(plan.row_token_R.numel() == 0);
}

TEST_CASE("plan_rows agrees with a stable sort") {
  const auto [T, K, E] = GENERATE(table<int64_t, int64_t, int64_t>(
      {{0, 2, 3}, {1, 1, 1}, {97, 3, 7}, {64, 2, 1}, {13, 5, 101}}));
  at::manual_seed(2);
  const at::Tensor ids = at::randint(-1, E, {T, K}, at::kLong);
  const at::Tensor kept = at::rand({T, K}).gt(0.2);
  const RowPlan plan = plan_rows(ids, kept, E), expected = reference::plan_rows(ids, kept, E);
  CHECK(plan.offsets_E == expected.offsets_E);
  CHECK(at::equal(plan.row_token_R, expected.row_token_R));
  CHECK(at::equal(plan.row_assignment_R, expected.row_assignment_R));
}

}  // namespace
}  // namespace switchyard
