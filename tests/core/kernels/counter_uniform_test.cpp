#include "core/kernels/counter_uniform.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/counter_rng.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

TEST_CASE("counter_uniform is the hash of its coordinates") {
  const at::Tensor u =
      counter_uniform(hash({1, 5}), at::tensor({3, 1000}, at::kLong), 4, at::kDouble);
  REQUIRE(u.sizes() == at::IntArrayRef({2, 4}));
  CHECK(u[0][0].item<double>() == uniform({1, 5, 3, 0}));
  CHECK(u[1][3].item<double>() == uniform({1, 5, 1000, 3}));
}

TEST_CASE("counter_uniform does not depend on the batch") {
  const at::Tensor all = counter_uniform(7, at::arange(101), 5, at::kFloat);
  const at::Tensor part = counter_uniform(7, at::arange(40, 61), 5, at::kFloat);
  CHECK(at::equal(all.narrow(0, 40, 21), part));
  CHECK(counter_uniform(7, at::empty({0}, at::kLong), 5, at::kFloat).sizes() ==
        at::IntArrayRef({0, 5}));
}

TEST_CASE("fill_normal_ gives the inverse CDF of the element's draw, in any cut") {
  at::Tensor whole = at::empty({40, 50}, test::of(at::kDouble));
  fill_normal_(whole, 9, 0.5, 0);
  CHECK(whole[1][2].item<double>() ==
        0.5 * inverse_normal_cdf(to_uniform(hash_more(9, 52)) + 0x1.0p-54));
  at::Tensor rest = at::empty({39, 50}, test::of(at::kDouble));
  fill_normal_(rest, 9, 0.5, 50);
  CHECK(at::equal(rest, whole.narrow(0, 1, 39)));
}

TEST_CASE("fill_normal_ has the moments of a normal distribution") {
  at::Tensor x = at::empty({1000003}, test::of(at::kFloat));
  fill_normal_(x, 1, 2.0, 0);
  const at::Tensor z = x.to(at::kDouble) / 2;
  CHECK(std::abs(z.mean().item<double>()) < 0.005);
  CHECK(z.square().mean().item<double>() == Approx(1.0).epsilon(0.01));
  CHECK(z.pow(4).mean().item<double>() == Approx(3.0).epsilon(0.02));
}

TEST_CASE("fill_trunc_normal_ stays within two deviations") {
  at::Tensor x = at::empty({200003}, test::of(at::kDouble));
  fill_trunc_normal_(x, 1, 0.1, 0);
  CHECK(x.abs().max().item<double>() <= 0.2 + 1e-15);
  // Variance of N(0, 1) cut at ±2: 1 − 2·2·φ(2)/(Φ(2) − Φ(−2)).
  CHECK((x.square().mean() / 0.01).item<double>() == Approx(0.7737).epsilon(0.01));
}

TEST_CASE("fill_normal_ fills a strided tensor in row-major order") {
  at::Tensor plain = at::empty({6, 4}), strided = at::empty({4, 6}).t();
  fill_normal_(plain, 3, 1.0, 0);
  fill_normal_(strided, 3, 1.0, 0);
  CHECK(at::equal(plain, strided));
}

}  // namespace
}  // namespace switchyard
