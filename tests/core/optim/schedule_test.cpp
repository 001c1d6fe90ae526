#include "core/optim/schedule.h"

#include <catch2/catch.hpp>

using namespace switchyard;

namespace {

OptimOptions options(const std::string& schedule) {
  OptimOptions o;
  o.schedule = schedule;
  o.lr = 1.0;
  o.min_lr = 0.1;
  o.warmup_steps = 4;
  o.decay_steps = 5;
  return o;
}

}  // namespace

TEST_CASE("Warm-up rises linearly and reaches the full rate at its last step") {
  for (const auto* schedule : {"constant", "linear", "cosine", "wsd"}) {
    CAPTURE(schedule);
    const OptimOptions o = options(schedule);

    CHECK(learning_rate(o, 0, 20) == Approx(0.25));
    CHECK(learning_rate(o, 3, 20) == Approx(1.0));
  }
}

TEST_CASE("Each schedule ends where its formula says") {
  CHECK(learning_rate(options("constant"), 19, 20) == Approx(1.0));
  CHECK(learning_rate(options("linear"), 19, 20) == Approx(0.1));
  CHECK(learning_rate(options("cosine"), 19, 20) == Approx(0.1));
  CHECK(learning_rate(options("wsd"), 19, 20) == Approx(0.1));
}

TEST_CASE("The middle of the decay has the hand-computed rate") {
  // 21 steps, warm-up 4: the decay runs over steps 4 to 20, so step 12 is half-way.
  CHECK(learning_rate(options("linear"), 12, 21) == Approx(0.55));
  CHECK(learning_rate(options("cosine"), 12, 21) == Approx(0.55));
  CHECK(learning_rate(options("cosine"), 8, 21) == Approx(0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5))));
}

TEST_CASE("wsd is constant until its last decay_steps") {
  CHECK(learning_rate(options("wsd"), 14, 20) == Approx(1.0));
  CHECK(learning_rate(options("wsd"), 15, 20) == Approx(1.0));
  CHECK(learning_rate(options("wsd"), 17, 20) == Approx(0.55));
}

TEST_CASE("A warm-up longer than the run is a ramp that never ends") {
  OptimOptions o = options("cosine");
  o.warmup_steps = 100;
  CHECK(learning_rate(o, 9, 10) == Approx(0.1));
}
