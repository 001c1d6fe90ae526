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

}  // namespace
}  // namespace switchyard::test
