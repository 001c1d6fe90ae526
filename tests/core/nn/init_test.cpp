#include "core/nn/init.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

namespace switchyard {
namespace {

at::Tensor drawn(const WeightInit& init) {
  const at::Tensor weight = at::zeros({400, 100}, at::kDouble);
  init_weight(weight, 7, "layers.0.w", init);
  return weight;
}

double deviation(const at::Tensor& x) {
  return x.std().item<double>();
}

double largest(const at::Tensor& x) {
  return x.abs().max().item<double>();
}

// Standard deviation of N(0, 1) truncated at two: √(1 − 4 φ(2)/(2 Φ(2) − 1)).
const double kTruncated =
    std::sqrt(1 - 4 * std::exp(-2.0) / std::sqrt(2 * M_PI) / std::erf(std::sqrt(2.0)));

}  // namespace

TEST_CASE("first weights: normal, truncated, and of a deviation that follows the columns") {
  CHECK(deviation(drawn({.std = 0.5})) == Approx(0.5).epsilon(0.02));
  CHECK(largest(drawn({.std = 0.5})) > 3 * 0.5);
  const at::Tensor truncated = drawn({.std = 0.5, .truncated = true});
  CHECK(deviation(truncated) == Approx(0.5 * kTruncated).epsilon(0.02));
  CHECK(largest(truncated) <= 1);
  const double std = std::sqrt(0.1 / 100);
  const at::Tensor by_columns = drawn({.std = 0.5, .fan_in = true});
  CHECK(at::allclose(by_columns, truncated * (std / 0.5), 1e-12, 0));
  CHECK(drawn({.std = 0.5}).equal(drawn({.std = 0.5})));
}

}  // namespace switchyard
