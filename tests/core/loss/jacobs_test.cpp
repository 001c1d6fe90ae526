#include <catch2/catch.hpp>

#include <fstream>
#include <iostream>

#include "tests/core/loss/jacobs_demo.h"
#include "tests/core/loss/jacobs_picture.h"
#include "tests/support/paths.h"

// docs/jacobs1991.md tells what these measure.

using namespace switchyard::test::jacobs;

namespace {

constexpr int64_t kExperts = 6, kSteps = 800;

std::string row(const Ownership& found) {
  return fmt::format(
      "owner's share {:.3f}, owners {}, experts in use {:.2f}, error of the mixture {:.3f}, of the "
      "owner alone {:.3f}",
      found.share, found.owners, found.experts_used, found.mixture_error, found.owner_error);
}

Ownership run(Objective objective, uint64_t seed, int64_t num_experts, int64_t steps) {
  return measure(train(objective, seed, num_experts, steps), make_task(seed));
}

}  // namespace

TEST_CASE("Experts that compete own a region each, experts that co-operate do not") {
  for (const uint64_t seed : {1, 2, 3}) {
    const Ownership alone = run(Objective::kCompetitive, seed, kExperts, kSteps);
    const Ownership together = run(Objective::kCooperative, seed, kExperts, kSteps);
    std::cout << "jacobs: seed " << seed << ", competitive:  " << row(alone) << "\n"
              << "jacobs: seed " << seed << ", co-operative: " << row(together) << "\n";

    INFO("seed " << seed);
    CHECK(alone.owners == kRegions);
    CHECK(alone.share >= 0.88);
    CHECK(alone.owner_error <= 0.03);  // the noise alone is 0.01
    CHECK(together.mixture_error <= 0.2);
    CHECK(together.owner_error >= 0.5);
    CHECK(alone.share - together.share >= 0.05);
    CHECK(together.experts_used - alone.experts_used >= 0.1);
  }
}

TEST_CASE("How often experts come to own the regions, over 20 starts", "[.survey]") {
  struct Arm {
    int64_t experts, steps;
  };
  for (const Arm arm : {Arm{4, kSteps}, Arm{6, kSteps}, Arm{8, kSteps}, Arm{6, 10 * kSteps}}) {
    for (const auto objective : {Objective::kCompetitive, Objective::kCooperative}) {
      int64_t owned = 0, fitted = 0;
      double least = 1.0, most = 0.0;
      for (uint64_t seed = 1; seed <= 20; ++seed) {
        const Ownership found = run(objective, seed, arm.experts, arm.steps);
        owned += found.owner_error <= 0.05;
        fitted += found.mixture_error <= 0.05;
        least = std::min(least, found.owner_error);
        most = std::max(most, found.owner_error);
      }
      std::cout << fmt::format(
          "jacobs: {} experts, {} steps, {}: every region owned (error <= 0.05) in {} of 20, "
          "mixture fits (<= 0.05) in {}, owner's error {:.3f} to {:.3f}\n",
          arm.experts, arm.steps, name(objective), owned, fitted, least, most);
    }
  }
}

TEST_CASE("Draws docs/jacobs1991.svg", "[.picture]") {
  const Task task = make_task(1);
  std::vector<Panel> panels = {
      {46, "Competitive loss", "E = −log Σ pᵢ exp(−½ ‖d − oᵢ‖²)", {}, {}},
      {536, "Co-operative loss", "E = ‖d − Σ pᵢ oᵢ‖²", {}, {}},
  };
  panels[0].mixture = train(Objective::kCompetitive, 1, kExperts, kSteps);
  panels[1].mixture = train(Objective::kCooperative, 1, kExperts, kSteps);
  for (auto& panel : panels) panel.found = measure(panel.mixture, task);

  std::ofstream out(switchyard::test::source_path("/docs/jacobs1991.svg"));
  out << picture(panels, task);
  out.close();
  CHECK(out.good());
}
