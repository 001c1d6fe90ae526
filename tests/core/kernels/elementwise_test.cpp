#include "core/kernels/elementwise.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <vector>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

using Function = at::Tensor (*)(const at::Tensor&);
struct Pair {
  const char* name;
  Function ours, plain;
  bool positive;
};
const std::vector<Pair> kPairs = {
    {"exp", elementwise::exp, reference::elementwise::exp, false},
    {"log", elementwise::log, reference::elementwise::log, true},
    {"sigmoid", elementwise::sigmoid, reference::elementwise::sigmoid, false},
    {"softplus", elementwise::softplus, reference::elementwise::softplus, false},
    {"root_softplus", elementwise::root_softplus, reference::elementwise::root_softplus, false},
    {"erfc", elementwise::erfc, reference::elementwise::erfc, false},
    {"row_logsumexp", elementwise::row_logsumexp, reference::elementwise::row_logsumexp, false}};

at::Tensor inputs_for(const Pair& pair, std::vector<int64_t> shape, at::ScalarType dtype) {
  const at::Tensor x = at::randn(shape, test::of(dtype)) * 3;
  return pair.positive ? x.abs() + 0.1 : x;
}

TEST_CASE("Elementwise functions agree with plain ATen in value and gradient") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto [T, E] = GENERATE(table<int64_t, int64_t>({{0, 3}, {1, 1}, {7, 13}, {211, 67}}));
  at::manual_seed(8);
  for (const Pair& pair : kPairs) {
    INFO(pair.name);
    CHECK(test::disagreement([&](const auto& in) { return pair.ours(in[0]); },
                             [&](const auto& in) { return pair.plain(in[0]); },
                             {inputs_for(pair, {T, E}, dtype)}) < test::tolerance(dtype));
  }
}

TEST_CASE("Elementwise functions give a row the same bits wherever it stands, and its gradient") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const int64_t E = GENERATE(1, 3, 16, 37);
  at::manual_seed(9);
  for (const Pair& pair : kPairs) {
    INFO(pair.name << ", " << E << " columns");
    const at::Tensor x = inputs_for(pair, {257, E}, dtype);
    const auto of_rows = [&](int64_t first, int64_t rows) {
      at::Tensor part = x.narrow(0, first, rows).clone().requires_grad_();
      const at::Tensor y = pair.ours(part);
      y.sum().backward();
      return std::pair{y.detach(), part.grad()};
    };
    const auto [whole, whole_gradient] = of_rows(0, 257);
    for (const auto& [first, rows] :
         {std::pair<int64_t, int64_t>{0, 1}, {1, 2}, {100, 33}, {254, 3}}) {
      const auto [y, gradient] = of_rows(first, rows);
      CHECK(at::equal(y, whole.narrow(0, first, rows)));
      CHECK(at::equal(gradient, whole_gradient.narrow(0, first, rows)));
    }
  }
}

TEST_CASE("sigmoid and softplus stay finite and exact for extreme values") {
  const at::Tensor x = at::tensor({-1e4, -50.0, 0.0, 50.0, 1e4}, at::kDouble);
  CHECK(test::difference(elementwise::sigmoid(x),
                         at::tensor({0.0, 1.9287498479639178e-22, 0.5, 1.0, 1.0}, at::kDouble)) <
        1e-30);
  CHECK(test::difference(elementwise::softplus(x),
                         at::tensor({0.0, 1.9287498479639178e-22, 0.6931471805599453, 50.0, 1e4},
                                    at::kDouble)) < 1e-15);
}

TEST_CASE("root_softplus has slope 0 where it is 0") {
  at::Tensor x = at::tensor({1.0f, 0.0f, -120.0f, -1e4f}).requires_grad_();
  const at::Tensor y = elementwise::root_softplus(x);
  y.sum().backward();
  CHECK(y[3].item<float>() == 0.0f);
  CHECK(x.grad().isfinite().all().item<bool>());
  CHECK(x.grad()[3].item<float>() == 0.0f);
}

}  // namespace
}  // namespace switchyard
