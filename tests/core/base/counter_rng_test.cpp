#include "core/base/counter_rng.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace switchyard;

TEST_CASE("splitmix64 gives the published sequence of seed 0") {
  // The generator's state grows by the golden ratio; the first three outputs are in its paper's
  // code.
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ull;
  CHECK(splitmix64(0) == 0xE220A8397B1DCDAFull);
  CHECK(splitmix64(kGolden) == 0x6E789E6AA1B965F4ull);
  CHECK(splitmix64(2 * kGolden) == 0x06C45D188009454Full);
}

TEST_CASE("a chain of coordinates can be continued") {
  CHECK(hash_more(hash({1, 2}), 3) == hash({1, 2, 3}));
  CHECK(hash({1, 2}) != hash({2, 1}));
  CHECK(hash({}) == 0);
}

TEST_CASE("uniform numbers lie in [0, 1)") {
  CHECK(to_uniform(0) == 0.0);
  CHECK(to_uniform(~uint64_t{0}) == 1.0 - 0x1.0p-53);
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double u = uniform({7, i});
    sum += u;
    squares += u * u;
  }
  // Five standard errors around 1/2 and 1/3.
  CHECK(std::abs(sum / kDraws - 0.5) < 5 * std::sqrt(1.0 / 12 / kDraws));
  CHECK(std::abs(squares / kDraws - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / kDraws));
}

TEST_CASE("the inverse normal CDF inverts the normal CDF") {
  SECTION("at tabulated quantiles") {
    CHECK(inverse_normal_cdf(0.5) == 0.0);
    CHECK(inverse_normal_cdf(0.975) == Approx(1.959963984540054).epsilon(1e-15));
    CHECK(inverse_normal_cdf(0.25) == Approx(-0.6744897501960817).epsilon(1e-15));
    CHECK(inverse_normal_cdf(1e-10) == Approx(-6.361340902404056).epsilon(1e-14));
  }
  SECTION("over its three ranges, to the precision of erfc") {
    for (const double u : {1e-300, 1e-100, 1e-20, 1e-5, 0.01, 0.07, 0.0750001, 0.3, 0.49}) {
      const double x = inverse_normal_cdf(u);
      CHECK(0.5 * std::erfc(-x / std::sqrt(2.0)) == Approx(u).epsilon(1e-11));
    }
  }
  SECTION("is odd around one half") {
    for (const double u : {0.01, 0.125, 0.4})
      CHECK(inverse_normal_cdf(1 - u) == Approx(-inverse_normal_cdf(u)).epsilon(1e-14));
  }
}
