#include <catch2/catch.hpp>

#include <random>
#include <string>
#include <vector>

#include "tests/support/tiny_run.h"

namespace switchyard::test {
namespace {

const std::vector<std::string> kLonger = {"train.steps=150", "eval.every=75"};

pid_t rank_to_kill(const Program& program, int ranks, std::mt19937& random) {
  const auto processes = ranks_of(program.pid());
  return processes.empty() ? 0
                           : processes[random() % static_cast<size_t>(ranks) % processes.size()];
}

/// Starts the run and kills one rank some steps later. False when the run ended before.
bool run_and_kill(const TempFolder& temp, int ranks, std::mt19937& random) {
  const int64_t before = steps_logged(temp, "killed");
  const int64_t target = before + 3 + static_cast<int64_t>(random() % 40);
  Program program(tiny_training(temp, ranks, "killed", kLonger), temp.path());
  wait_until([&] { return steps_logged(temp, "killed") >= target || !program.running(); });
  if (!program.running()) return false;
  const pid_t victim = rank_to_kill(program, ranks, random);
  REQUIRE(victim > 0);
  kill(victim, SIGKILL);
  CHECK(program.wait().code == 137);
  return true;
}

TEST_CASE("A run killed at random moments ends with the same bits as an unbroken one") {
  for (const int ranks : {1, 2}) {
    const TempFolder temp;
    const auto whole = run(tiny_training(temp, ranks, "whole", kLonger), temp.path());
    INFO(ranks << " ranks: " << whole.err);
    REQUIRE(whole.code == 0);

    std::mt19937 random(static_cast<unsigned>(ranks));
    int kills = 0;
    for (int attempt = 0; attempt < 4; ++attempt)
      if (run_and_kill(temp, ranks, random)) ++kills;
    REQUIRE(kills > 0);
    const auto last = run(tiny_training(temp, ranks, "killed", kLonger), temp.path());
    INFO("after " << kills << " kills: " << last.err);
    REQUIRE(last.code == 0);

    CHECK(summary_of(temp, "killed").at("state_hash") ==
          summary_of(temp, "whole").at("state_hash"));
    const auto expected = logged(temp, "whole", "nll"), found = logged(temp, "killed", "nll");
    int differences = 0;
    for (const auto& [step, nll] : expected)
      if (found.count(step) == 0 || found.at(step) != nll) ++differences;
    WARN(ranks << " ranks: " << kills << " kills, " << differences << " of " << expected.size()
               << " logged nll differ");
    CHECK(differences == 0);
    CHECK(found.size() == expected.size());
  }
}

/// Evaluation lines of metrics.jsonl at a step.
int evaluations(const TempFolder& temp, const std::string& dir, int64_t step) {
  int count = 0;
  for (const auto& text : lines_of(temp.read(dir + "/metrics.jsonl"))) {
    const auto line = nlohmann::json::parse(text);
    if (line.contains("event") && line.at("step") == step) ++count;
  }
  return count;
}

void check_same_end(const nlohmann::json& found, const nlohmann::json& whole) {
  for (const char* key : {"steps", "tokens", "train_nll", "val_nll", "excess_loss", "drop_rate",
                          "max_vio_global", "domain_mi", "ranks", "state_hash"}) {
    INFO(key);
    CHECK(found.at(key) == whole.at(key));
    CHECK_FALSE(found.at(key).is_null());
  }
}

TEST_CASE("A run killed in its last evaluation ends like an unbroken one") {
  const std::vector<std::string> short_eval = {"eval.every=100", "eval.sequences=32"},
                                 long_eval = {"eval.every=100", "eval.sequences=200000"};
  const TempFolder temp;
  REQUIRE(run(tiny_training(temp, 1, "whole", short_eval), temp.path()).code == 0);
  {
    Program program(tiny_training(temp, 1, "killed", long_eval), temp.path());
    REQUIRE(wait_until(
        [&] { return std::filesystem::exists(temp.path("killed/checkpoints/step-00000060")); }));
    std::mt19937 random(1);
    const pid_t victim = rank_to_kill(program, 1, random);
    REQUIRE(victim > 0);
    kill(victim, SIGKILL);
    CHECK(program.wait().code == 137);
  }
  REQUIRE_FALSE(std::filesystem::exists(temp.path("killed/summary.json")));

  const auto outcome = run(tiny_training(temp, 1, "killed", short_eval), temp.path());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  check_same_end(summary_of(temp, "killed"), summary_of(temp, "whole"));
  CHECK(evaluations(temp, "killed", 60) == 1);
  CHECK(logged(temp, "killed", "nll") == logged(temp, "whole", "nll"));
}

TEST_CASE("A run whose last summary is missing writes it, and its evaluation stays one") {
  const TempFolder temp;
  const auto again = [&](int ranks) {
    const auto outcome = run(tiny_training(temp, ranks, "run"), temp.path());
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome.out;
  };
  again(1);
  const auto whole = summary_of(temp, "run");
  const std::string metrics = temp.read("run/metrics.jsonl"),
                    summary = temp.read("run/summary.json");
  auto of_step_30 = whole;
  of_step_30["steps"] = 30;
  auto of_another = whole;
  of_another["state_hash"] = std::string(32, '0');
  auto without_evaluation = whole;
  without_evaluation["val_nll"] = nullptr;

  for (const std::string& text :
       {std::string(), summary.substr(0, summary.size() / 2), of_step_30.dump(), of_another.dump(),
        without_evaluation.dump()}) {
    INFO(text);
    temp.write("run/summary.json", text);
    CHECK(again(1).find("this run has finished") == std::string::npos);
    check_same_end(summary_of(temp, "run"), whole);
    CHECK(temp.read("run/metrics.jsonl") == metrics);
  }
  CHECK(again(1).find("this run has finished") != std::string::npos);

  // Stopped before the evaluation's line, and gone on by another number of ranks.
  const size_t last = metrics.rfind("{\"event\"");
  REQUIRE(last != std::string::npos);
  temp.write("run/metrics.jsonl", metrics.substr(0, last));
  std::filesystem::remove(temp.path("run/summary.json"));
  again(2);
  CHECK(summary_of(temp, "run").at("state_hash") == whole.at("state_hash"));
  CHECK(summary_of(temp, "run").at("train_nll") == whole.at("train_nll"));
  CHECK(evaluations(temp, "run", 60) == 1);

  // What no file tells any more is not made up.
  for (const char* name : {"run/summary.json", "run/metrics.jsonl"})
    std::filesystem::remove(temp.path(name));
  again(1);
  CHECK(summary_of(temp, "run").at("val_nll") == whole.at("val_nll"));
  CHECK(summary_of(temp, "run").at("train_nll").is_null());
  CHECK(summary_of(temp, "run").at("drop_rate").is_null());
}

TEST_CASE("A run that goes on from an earlier step records over what it takes back") {
  const TempFolder temp;
  const std::string record = "train.record_routing=" + temp.path("trace");
  const auto constant = [&](std::vector<std::string> more) {
    more.insert(more.end(), {record, "optim.schedule=constant", "eval.every=0"});
    const auto outcome = run(tiny_training(temp, 1, "run", more), temp.path());
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  };
  constant({"train.steps=30"});
  const std::string step_22 = temp.read("trace/step-00000022.safetensors");
  constant({"train.steps=24", "run.resume=" + temp.path("run/checkpoints/step-00000020")});

  CHECK(std::filesystem::exists(temp.path("trace/step-00000024.safetensors")));
  CHECK_FALSE(std::filesystem::exists(temp.path("trace/step-00000025.safetensors")));
  CHECK(temp.read("trace/step-00000022.safetensors") == step_22);

  SECTION("and another balancer replays it") {
    const auto replay =
        run(tiny_training(temp, 1, "other",
                          {"train.steps=24", "moe.balance=[]", "moe.bias.type=none", "eval.every=0",
                           "train.replay_routing=" + temp.path("trace")}),
            temp.path());
    INFO(replay.err);
    CHECK(replay.code == 0);
    CHECK(logged(temp, "other", "step").size() == 24);
  }
}

TEST_CASE("A run goes on with other numbers of ranks and another expert axis") {
  using Overrides = std::vector<std::string>;
  Overrides shape;
  SECTION("a plain model") {}
  SECTION("layers of different sizes") {
    shape = {"moe.num_experts=[4, 8]", "moe.zero_experts=1", "moe.constant_experts=1",
             "moe.latent_dim=16", "moe.router.gating_residual=true"};
  }
  const TempFolder temp;
  const auto go = [&](int ranks, const std::string& dir, Overrides overrides) {
    overrides.insert(overrides.end(), shape.begin(), shape.end());
    overrides.insert(overrides.end(), {"optim.schedule=constant", "eval.every=0"});
    const auto outcome = run(tiny_training(temp, ranks, dir, overrides), temp.path());
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  };
  go(2, "whole", {"train.steps=30"});
  go(2, "moved", {"train.steps=10"});
  go(4, "moved", {"train.steps=20", "parallel.expert=4"});
  go(1, "moved", {"train.steps=30"});

  const auto whole = logged(temp, "whole", "nll"), moved = logged(temp, "moved", "nll");
  REQUIRE(moved.size() == 30);
  for (const int64_t step : {11, 20, 21, 30})
    CHECK(std::stod(moved.at(step)) == Approx(std::stod(whole.at(step))).epsilon(1e-5));
}

TEST_CASE("A damaged newest checkpoint is passed over, loudly, under resume: auto") {
  const TempFolder temp;
  REQUIRE(run(tiny_training(temp, 2, "run", {"train.steps=30"}), temp.path()).code == 0);
  for (const auto& entry :
       std::filesystem::directory_iterator(temp.path("run/checkpoints/step-00000030"))) {
    if (entry.path().extension() != ".safetensors") continue;
    std::string bytes = read_text(entry.path());
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    std::ofstream(entry.path(), std::ios::binary) << bytes;
    break;
  }
  const auto outcome = run(tiny_training(temp, 2, "run"), temp.path());
  INFO(outcome.out << outcome.err);
  CHECK(outcome.code == 0);
  for (const char* told : {"WARNING: skipped a checkpoint: ", "/step-00000030/", "is damaged",
                           "resumed from step 20 of "})
    CHECK((outcome.out + outcome.err).find(told) != std::string::npos);
  CHECK(logged(temp, "run", "step").size() == 60);
}

}  // namespace
}  // namespace switchyard::test
