#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "tests/support/tiny_run.h"

namespace switchyard::test {
namespace {

const std::vector<std::string> kUnsaved = {"train.steps=400", "eval.every=0",
                                           "checkpoint.every=1000"};

/// Waits for the first logged steps.
void wait_for_steps(const TempFolder& temp, Program& program, int64_t steps) {
  wait_until([&] { return steps_logged(temp, "run") >= steps || !program.running(); });
}

std::vector<std::string> checkpoints(const TempFolder& temp) {
  std::vector<std::string> names;
  if (!std::filesystem::exists(temp.path("run/checkpoints"))) return names;
  for (const auto& entry : std::filesystem::directory_iterator(temp.path("run/checkpoints")))
    if (entry.path().filename().string().rfind("step-", 0) == 0)
      names.push_back(entry.path().filename());
  return names;
}

TEST_CASE("SIGUSR1 to mpirun saves and goes on") {
  const TempFolder temp;
  Program program(tiny_training(temp, 2, "run", kUnsaved), temp.path());
  wait_for_steps(temp, program, 5);
  program.send(SIGUSR1);
  CHECK(wait_until([&] { return !checkpoints(temp).empty() || !program.running(); }));
  CHECK(program.running());
  CHECK(checkpoints(temp).size() == 1);
  const auto outcome = program.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(summary_of(temp, "run").at("steps") == 400);
}

TEST_CASE("SIGUSR2 to mpirun saves and stops with 75, and the next start goes on") {
  const TempFolder temp;
  {
    Program program(tiny_training(temp, 2, "run", kUnsaved), temp.path());
    wait_for_steps(temp, program, 5);
    program.send(SIGUSR2);
    const auto outcome = program.wait();
    INFO(outcome.err);
    CHECK(outcome.code == 75);
  }
  const auto names = checkpoints(temp);
  REQUIRE(names.size() == 1);
  const int64_t saved = std::stoll(names[0].substr(5));
  CHECK(saved >= 5);
  CHECK(saved == steps_logged(temp, "run"));

  REQUIRE(run(tiny_training(temp, 2, "run", kUnsaved), temp.path()).code == 0);
  const TempFolder other;
  REQUIRE(run(tiny_training(other, 2, "run", kUnsaved), other.path()).code == 0);
  CHECK(summary_of(temp, "run").at("state_hash") == summary_of(other, "run").at("state_hash"));
  CHECK(logged(temp, "run", "nll") == logged(other, "run", "nll"));
}

TEST_CASE("SIGTERM to a single process saves and stops with 75") {
  const TempFolder temp;
  Program program(tiny_training(temp, 0, "run", kUnsaved), temp.path());
  wait_for_steps(temp, program, 5);
  program.send(SIGTERM);
  const auto outcome = program.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 75);
  CHECK(checkpoints(temp).size() == 1);
}

TEST_CASE("A second job in the same run folder is refused and harms nothing") {
  const TempFolder temp;
  Program first(tiny_training(temp, 1, "run", {"train.steps=100000", "eval.every=0"}), temp.path(),
                "first");
  wait_for_steps(temp, first, 5);
  const auto second =
      run(tiny_training(temp, 1, "run", {"train.steps=100000", "eval.every=0"}), temp.path());
  INFO(second.err);
  CHECK(second.code == 2);
  CHECK(second.err.find("error: [") != std::string::npos);
  CHECK(first.running());
  first.send(SIGUSR2);
  CHECK(first.wait().code == 75);
}

}  // namespace
}  // namespace switchyard::test
