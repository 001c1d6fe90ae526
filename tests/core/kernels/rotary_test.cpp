#include "core/kernels/rotary.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

TEST_CASE("apply_rotary turns each pair by position times frequency") {
  const bool interleaved = GENERATE(false, true);
  const int64_t L = 5, C = 6;
  at::manual_seed(7);
  const at::Tensor x = at::randn({2, L, 3, C}, test::of(at::kDouble));
  const at::Tensor y = apply_rotary(
      x, make_rotary_tables(9, rotary_frequencies(C, 10000.0), 1, at::kDouble), interleaved);
  const auto in = x.accessor<double, 4>(), out = y.accessor<double, 4>();
  double worst = 0;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t l = 0; l < L; ++l)
      for (int64_t h = 0; h < 3; ++h)
        for (int64_t i = 0; i < C / 2; ++i) {
          const double angle = static_cast<double>(l) * std::pow(10000.0, -2.0 * i / C);
          const int64_t first = interleaved ? 2 * i : i,
                        second = interleaved ? first + 1 : i + C / 2;
          const double a = in[b][l][h][first], c = in[b][l][h][second];
          worst = std::max(
              {worst, std::abs(out[b][l][h][first] - (a * std::cos(angle) - c * std::sin(angle))),
               std::abs(out[b][l][h][second] - (c * std::cos(angle) + a * std::sin(angle)))});
        }
  CHECK(worst < 1e-14);
}

TEST_CASE("apply_rotary agrees with plain ATen in value and gradient") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const bool interleaved = GENERATE(false, true);
  const auto [B, L, H, C] = GENERATE(table<int64_t, int64_t, int64_t, int64_t>(
      {{0, 3, 1, 4}, {1, 1, 1, 2}, {3, 7, 5, 6}, {2, 67, 3, 34}}));
  const RotaryTables tables = make_rotary_tables(L + 2, rotary_frequencies(C, 500.0), 1, dtype);
  CHECK(test::disagreement(
            [&](const auto& in) { return apply_rotary(in[0], tables, interleaved); },
            [&](const auto& in) { return reference::apply_rotary(in[0], tables, interleaved); },
            {at::randn({B, L, H, C}, test::of(dtype))}) < test::tolerance(dtype));
}

TEST_CASE("apply_rotary makes scores depend on the distance alone") {
  const RotaryTables tables = make_rotary_tables(16, rotary_frequencies(8, 100.0), 1, at::kDouble);
  const at::Tensor q = at::randn({1, 1, 1, 8}, test::of(at::kDouble)).expand({1, 16, 1, 8});
  const at::Tensor k = at::randn({1, 1, 1, 8}, test::of(at::kDouble)).expand({1, 16, 1, 8});
  const at::Tensor a = apply_rotary(q, tables, false).view({16, 8});
  const at::Tensor b = apply_rotary(k, tables, false).view({16, 8});
  const at::Tensor scores = at::mm(a, b.t());
  CHECK(test::difference(scores.narrow(0, 3, 13).narrow(1, 3, 13),
                         scores.narrow(0, 0, 13).narrow(1, 0, 13)) < 1e-13);
}

}  // namespace
}  // namespace switchyard
