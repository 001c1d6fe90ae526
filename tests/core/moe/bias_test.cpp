#include "core/moe/bias.h"

#include <catch2/catch.hpp>

using namespace switchyard;

TEST_CASE("The sign rule raises the starved, lowers the crowded and leaves the mean alone") {
  BiasOptions options;
  options.type = "sign";
  options.rate = 0.5;
  auto bias = torch::zeros({4});

  update_bias(options, torch::tensor({10, 2, 4, 0}), bias);  // mean 4

  CHECK(bias.equal(torch::tensor({-0.5f, 0.5f, 0.0f, 0.5f})));
}

TEST_CASE("The sign rule compares integers, beyond what fp32 can tell apart") {
  BiasOptions options;
  options.type = "sign";
  const int64_t big = (int64_t{1} << 24) + 1;
  auto bias = torch::zeros({2});

  update_bias(options, torch::tensor({big, big - 2}), bias);

  CHECK(bias[0].item<float>() < 0);
  CHECK(bias[1].item<float>() > 0);
}

TEST_CASE("Without a rule the bias stays") {
  auto bias = torch::ones({2});
  update_bias(BiasOptions{}, torch::tensor({5, 1}), bias);
  CHECK(bias.equal(torch::ones({2})));
}
