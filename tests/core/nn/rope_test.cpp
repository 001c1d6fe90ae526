#include "core/nn/rope.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/error.h"

namespace switchyard {
namespace {

RopeOptions scaled(const std::string& type, double factor) {
  RopeOptions options;
  options.scaling.type = type;
  options.scaling.factor = factor;
  options.scaling.original_max_seq_len = 32;
  return options;
}

std::vector<double> frequencies(const RopeOptions& options, int64_t width = 8) {
  const at::Tensor values = rope_frequencies(options, width);
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

/// To the precision in which transformers 5.17.0 computes them (fp32).
void check_near(const std::vector<double>& found, const std::vector<double>& wanted) {
  REQUIRE(found.size() == wanted.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Approx(wanted[i]).epsilon(2e-7));
}

}  // namespace

TEST_CASE("rotary frequencies, plain and stretched, by hand and as transformers has them") {
  RopeOptions plain;
  check_near(frequencies(plain), {1, 0.1, 0.01, 0.001});
  check_near(frequencies(scaled("linear", 2.5)), {0.4, 0.04, 0.004, 0.0004});
  SECTION("llama3: one pair stays, one is in between, two are slowed") {
    RopeOptions options = scaled("llama3", 8);
    options.theta = 100;
    // Turns over 32 positions: 5.1, 1.61, 0.51, 0.16; between 1 and 4 the share (1.61 − 1)/3 stays.
    const double turns = 32 * std::pow(100, -0.25) / (2 * M_PI), stays = (turns - 1) / 3;
    const double between = std::pow(100, -0.25) * (stays + (1 - stays) / 8);
    check_near(frequencies(options), {1, between, 0.1 / 8, std::pow(100, -0.75) / 8});
    check_near(frequencies(options),
               {1.0, 0.0958399772644043, 0.012500000186264515, 0.0039528473280370235});
  }
  SECTION("yarn: a ramp over the pairs, its ends rounded or not") {
    RopeOptions options = scaled("yarn", 4);
    options.scaling.beta_fast = 4;
    options.scaling.beta_slow = 0.25;
    check_near(frequencies(options), {1, 0.1 * (1 + 0.25) / 2, 0.01 / 4, 0.001 / 4});
    options.scaling.truncate = false;
    check_near(frequencies(options),
               {1.0, 0.0442483015358448, 0.0024999999441206455, 0.0002500000118743628});
  }
  SECTION("yarn at the sizes of DeepSeek-V2-Lite") {
    RopeOptions options = scaled("yarn", 40);
    options.scaling.original_max_seq_len = 4096;
    const auto found = frequencies(options, 64);
    CHECK(found[10] == Approx(std::pow(1e4, -20.0 / 64)).epsilon(1e-12));       // still as before
    CHECK(found[23] == Approx(std::pow(1e4, -46.0 / 64) / 40).epsilon(1e-12));  // slowed in full
    CHECK(found[11] < std::pow(1e4, -22.0 / 64));
  }
}

TEST_CASE("yarn's amplitude and the scale of latent scores") {
  RopeScaling scaling;
  CHECK(rope_amplitude(scaling) == 1);
  CHECK(latent_score_scale(scaling) == 1);
  scaling.type = "yarn";
  scaling.factor = 40;
  CHECK(rope_amplitude(scaling) == Approx(1 + 0.1 * std::log(40)).epsilon(1e-15));
  CHECK(latent_score_scale(scaling) == 1);
  scaling.mscale = scaling.mscale_all_dim = 0.707;  // DeepSeek-V2-Lite
  CHECK(rope_amplitude(scaling) == 1);
  const double m = 1 + 0.0707 * std::log(40);
  CHECK(latent_score_scale(scaling) == Approx(m * m).epsilon(1e-15));
  scaling.mscale = 1;
  CHECK(rope_amplitude(scaling) == Approx((1 + 0.1 * std::log(40)) / m).epsilon(1e-15));
  scaling.attention_factor = 0.5;
  CHECK(rope_amplitude(scaling) == 0.5);
}

TEST_CASE("scalings whose keys contradict each other are refused") {
  const auto problem = [](RopeOptions options) -> std::string {
    try {
      validate(options);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "";
  };
  RopeOptions options = scaled("llama3", 8);
  CHECK(problem(options) == "");
  options.scaling.low_freq_factor = 5;
  CHECK(problem(options).find("high_freq_factor: 4 is not above low_freq_factor: 5") !=
        std::string::npos);
  options = scaled("yarn", 4);
  CHECK(problem(options) == "");
  options.theta = 1;
  CHECK(problem(options).find("model.rope_theta: 1 does not go with") != std::string::npos);
}

}  // namespace switchyard
