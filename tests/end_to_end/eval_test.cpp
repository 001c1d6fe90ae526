#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/tiny_run.h"
#include "tests/support/token_bytes.h"

namespace switchyard::test {
namespace {

Outcome eval(const TempFolder& temp, int ranks, std::vector<std::string> more) {
  std::vector<std::string> words = {"eval", temp.path("run")};
  words.insert(words.end(), more.begin(), more.end());
  return run(switchyard(ranks, words), temp.path());
}

void damage(const TempFolder& temp, const std::string& file) {
  std::fstream stream(temp.path(file), std::ios::in | std::ios::out | std::ios::binary);
  REQUIRE(stream.is_open());
  stream.seekp(-1, std::ios::end);
  const int last = stream.peek();
  stream.seekp(-1, std::ios::end);
  stream.put(static_cast<char>(last ^ 1));
}

TEST_CASE("eval takes a run of any expert axis on any number of ranks") {
  const TempFolder temp;
  const auto trained =
      run(tiny_training(temp, 2, "run", {"train.steps=10", "eval.every=10", "parallel.expert=2"}),
          temp.path());
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const double nll = summary_of(temp, "run").at("val_nll");

  const auto evaluated = [&](int ranks, std::vector<std::string> more) {
    more.push_back("--json");
    more.push_back(temp.path("eval.json"));
    const auto outcome = eval(temp, ranks, more);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return nlohmann::json::parse(temp.read("eval.json"));
  };
  SECTION("one rank and three") {
    for (const int ranks : {1, 3})
      CHECK(evaluated(ranks, {}).at("val_nll").get<double>() == Approx(nll).epsilon(1e-6));
  }
  SECTION("the entropy rate beside the true model's loss") {
    const auto json = evaluated(1, {});
    CHECK(json.at("excess_loss_h0").get<double>() ==
          Approx(json.at("val_nll").get<double>() - 1.2130076).epsilon(1e-6));
  }
  SECTION("as many training sequences as it says") {
    const auto json = evaluated(1, {"--split", "train", "eval.sequences=3"});
    CHECK(json.at("sequences") == 3);
    CHECK(json.at("tokens") == 3 * 31);
  }
  SECTION("data given here whole, whatever the sizes of its domains") {
    std::vector<int64_t> tokens(200, 5);
    const std::string large = temp.write("large.bin", raw_tokens<uint16_t>(tokens));
    tokens.resize(40);
    const std::string small = temp.write("small.bin", raw_tokens<uint16_t>(tokens));
    const auto json =
        evaluated(1, {"data.type=tokens", "data.domains={small: {paths: [" + small +
                                              "]}, large: {paths: [" + large + "]}}"});
    CHECK(json.at("sequences") == 1 + 6);  // windows of 32 tokens and a target
    CHECK(json.at("tokens") == 7 * 32);
  }
  SECTION("a file that cannot be written is refused before the work") {
    for (const auto& [path, problem] : std::vector<std::pair<std::string, std::string>>{
             {temp.path("none/eval.json"), "--json: there is no folder " + temp.path("none")},
             {temp.path("run"), "--json: " + temp.path("run") + " is a folder; allowed: a file"}}) {
      const auto outcome = eval(temp, 0, {"--json", path});
      CHECK(outcome.code == 2);
      CHECK(outcome.err == "error: [config] " + problem + "\n");
      CHECK(outcome.out.empty());
    }
  }
  SECTION("what the model or the machine cannot do is one line, exit 2") {
    for (const auto& [override_, problem] : std::vector<std::pair<std::string, std::string>>{
             {"run.device=cuda", "run.device: cuda, but LibTorch sees no usable GPU"},
             {"parallel.comm=mpi", "parallel.comm: mpi needs mpirun"},
             {"moe.top_k=9", "moe.top_k: 9 is above moe.num_experts: 8"},
             {"train.sequence_length=999", "train.sequence_length: 999 is above"}}) {
      const auto outcome = eval(temp, 0, {override_});
      INFO(outcome.err);
      CHECK(outcome.code == 2);
      CHECK(lines_of(outcome.err).size() == 1);
      CHECK(outcome.err.find(problem) != std::string::npos);
    }
  }
}

TEST_CASE("eval --history shows every whole checkpoint of a run, the same on any ranks") {
  const TempFolder temp;
  const auto trained =
      run(tiny_training(temp, 2, "run", {"train.steps=30", "eval.every=10", "parallel.expert=2"}),
          temp.path());
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto history = [&](int ranks) {
    const auto outcome = eval(temp, ranks, {"--history", "--json", temp.path("eval.json")});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(outcome.out.find("\nchurn, one column per MoE layer\n") != std::string::npos);
    return std::pair(outcome, nlohmann::json::parse(temp.read("eval.json")).at("checkpoints"));
  };
  const auto [outcome, checkpoints] = history(2);
  REQUIRE(checkpoints.size() == 3);
  SECTION("the losses that the run logged, and how routing settled") {
    for (int i = 0; i < 3; ++i) CHECK(checkpoints[i].at("step") == 10 * (i + 1));
    for (const auto& line : lines_of(temp.read("run/metrics.jsonl"))) {
      const auto entry = nlohmann::json::parse(line);
      if (!entry.contains("event")) continue;
      const auto& checkpoint = checkpoints.at(entry.at("step").get<size_t>() / 10 - 1);
      CHECK(checkpoint.at("val_nll") == entry.at("val_nll"));
    }
    for (int layer = 0; layer < 2; ++layer) {
      const auto at = [&](int i, const char* name) {
        return checkpoints[i].at("moe").at(name)[layer];
      };
      CHECK(at(0, "churn").is_null());
      CHECK(at(2, "saturation") == 1);
      // The one before the last: what it shares with the last is what the last did not change.
      CHECK(at(1, "saturation").get<double>() ==
            Approx(1 - at(2, "churn").get<double>()).epsilon(1e-12));
      CHECK(at(0, "saturation") > 0.25);  // by chance
      CHECK(at(0, "saturation") < 1);
    }
  }
  SECTION("on one rank and three") {
    for (const int ranks : {1, 3}) {
      const auto others = history(ranks).second;
      for (int i = 0; i < 3; ++i)
        for (const char* name : {"saturation", "saturation_first", "churn", "churn_first"})
          CHECK(others[i].at("moe").at(name) == checkpoints[i].at("moe").at(name));
    }
  }
  SECTION("a damaged checkpoint is left out, and said") {
    damage(temp, "run/checkpoints/step-00000020/rank-00000.safetensors");
    const auto [said, whole] = history(1);
    CHECK(said.err.find("WARNING: skipped a checkpoint: ") != std::string::npos);
    CHECK(said.err.find("step-00000020") != std::string::npos);
    REQUIRE(whole.size() == 2);
    CHECK(whole[1].at("moe").at("churn")[0].get<double>() ==
          Approx(1 - whole[0].at("moe").at("saturation")[0].get<double>()).epsilon(1e-12));
  }
  SECTION("without --history the newest whole one, and what was skipped for it") {
    damage(temp, "run/checkpoints/step-00000030/rank-00001.safetensors");
    const auto newest = eval(temp, 1, {});
    CHECK(newest.code == 0);
    CHECK(newest.out.starts_with("step 20,"));
    CHECK(newest.err.find("step-00000030") != std::string::npos);
  }
  SECTION("checkpoints of two runs in one folder are refused") {
    REQUIRE(
        run(tiny_training(temp, 0, "other", {"train.steps=40", "moe.top_k=1"}), temp.path()).code ==
        0);
    std::filesystem::rename(temp.path("other/checkpoints/step-00000040"),
                            temp.path("run/checkpoints/step-00000040"));
    const auto refused = eval(temp, 0, {"--history"});
    CHECK(refused.code == 2);
    CHECK(lines_of(refused.err).size() == 1);
    CHECK(refused.err.find("moe.top_k: 2 → 1") != std::string::npos);
  }
}

}  // namespace
}  // namespace switchyard::test
