#include "core/kernels/select.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <limits>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

TEST_CASE("select_top_k orders by falling key, ties to the lower index") {
  const at::Tensor keys = at::tensor({1.0, 3.0, 3.0, 2.0, 3.0}).unsqueeze(0);
  CHECK(at::equal(select_top_k(keys, 4), at::tensor({1, 2, 4, 3}, at::kLong).unsqueeze(0)));
  CHECK(at::equal(select_top_k(at::zeros({1, 64}), 4), at::arange(4).unsqueeze(0)));
}

TEST_CASE("select_top_k lets -inf and NaN come last, in order of index") {
  const at::Tensor keys = at::tensor({-kInf, std::nan(""), 0.0, -kInf, 5.0}).unsqueeze(0);
  const at::Tensor expected = at::tensor({4, 2, 0, 1, 3}, at::kLong).unsqueeze(0);
  CHECK(at::equal(select_top_k(keys, 5), expected));
  CHECK(at::equal(reference::select_top_k(keys, 5), expected));
}

TEST_CASE("select_top_k agrees with a stable sort") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto [T, E] = GENERATE(table<int64_t, int64_t>({{0, 4}, {1, 1}, {7, 13}, {1031, 64}}));
  at::manual_seed(1);
  // Few distinct values: most rows have ties.
  const at::Tensor keys = at::randint(0, 9, {T, E}, test::of(dtype));
  for (const int64_t k : {int64_t{0}, int64_t{1}, (E + 1) / 2, E})
    CHECK(at::equal(select_top_k(keys, k), reference::select_top_k(keys, k)));
}

}  // namespace
}  // namespace switchyard
