#include "core/kernels/swiglu.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/kernels/cpu/exponential.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

TEST_CASE("swiglu agrees with plain ATen in value and gradient") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto [T, F] = GENERATE(table<int64_t, int64_t>({{0, 3}, {1, 1}, {7, 13}, {211, 67}}));
  at::manual_seed(4);
  const at::Tensor gate_up = at::randn({T, 2 * F}, test::of(dtype)) * 4;
  CHECK(test::disagreement([](const auto& in) { return swiglu(in[0]); },
                           [](const auto& in) { return reference::swiglu(in[0]); },
                           {gate_up}) < test::tolerance(dtype));
}

TEST_CASE("swiglu's gradient is that of finite differences") {
  CHECK(test::gradient_error([](const auto& in) { return swiglu(in[0]); },
                             {at::randn({3, 2, 10}, test::of(at::kDouble))}) < 1e-7);
}

TEST_CASE("swiglu stays finite for extreme gates") {
  const at::Tensor gate_up = at::tensor({-1e4f, 1e4f, -90.0f, 90.0f, 1.0f, 1.0f, 1.0f, 1.0f});
  const at::Tensor act = swiglu(gate_up.unsqueeze(0));
  CHECK(test::difference(act, at::tensor({0.0f, 1e4f, 0.0f, 90.0f}).unsqueeze(0)) < 1e-30);
}

TEST_CASE("fast_exp is within 2 units in the last place") {
  double worst = 0;
  for (float x = -87.0f; x < 88.0f; x += 0.00137f) {
    const double exact = std::exp(static_cast<double>(x));
    const float rounded = static_cast<float>(exact);
    const double unit = std::nextafter(rounded, INFINITY) - rounded;
    worst = std::max(worst, std::abs(fast_exp(x) - exact) / unit);
  }
  CHECK(worst < 2.0);
}

}  // namespace
}  // namespace switchyard
