#include <catch2/catch.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support/tiny_run.h"

namespace switchyard::test {
namespace {

double number(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

TEST_CASE("Training runs on 1, 2 and 4 ranks and gives the same model") {
  const TempFolder temp;
  std::map<int, std::map<int64_t, std::string>> nll;
  for (const int ranks : {1, 2, 4}) {
    const std::string dir = "ranks" + std::to_string(ranks);
    const auto outcome = run(tiny_training(temp, ranks, dir), temp.path());
    INFO(ranks << " ranks: " << outcome.err);
    REQUIRE(outcome.code == 0);
    nll[ranks] = logged(temp, dir, "nll");
    REQUIRE(nll[ranks].size() == 60);

    const auto summary = summary_of(temp, dir);
    CHECK(summary.at("ranks") == ranks);
    CHECK(summary.at("steps") == 60);
    CHECK(summary.at("tokens") == 60 * 16 * 32);
    CHECK(summary.at("excess_loss").get<double>() > 0);
    CHECK(summary.at("params_active").get<int64_t>() < summary.at("params_total").get<int64_t>());
    CHECK(summary.at("state_hash").get<std::string>().size() == 32);
    CHECK(number(nll[ranks].at(60)) < number(nll[ranks].at(1)) - 0.3);
  }
  for (const int ranks : {2, 4}) {
    CHECK(number(nll[ranks].at(1)) == Approx(number(nll[1].at(1))).epsilon(1e-6));
    CHECK(number(nll[ranks].at(50)) == Approx(number(nll[1].at(50))).epsilon(1e-5));
  }
}

TEST_CASE("A run folder holds what the docs say") {
  const TempFolder temp;
  const auto outcome = run(tiny_training(temp, 2, "run", {"log.tensorboard=true"}), temp.path());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  for (const char* name :
       {"config.yaml", "metrics.jsonl", "summary.json", "tb", "checkpoints/step-00000060"})
    CHECK(std::filesystem::exists(temp.path(std::string("run/") + name)));

  SECTION("config.yaml is a config that gives itself") {
    const auto check =
        run(switchyard(0, {"config", "check", temp.path("run/config.yaml")}), temp.path());
    INFO(check.err);
    CHECK(check.code == 0);
  }
  SECTION("training lines have every key") {
    const auto line = nlohmann::json::parse(lines_of(temp.read("run/metrics.jsonl")).front());
    for (const char* key : {"step", "tokens", "wall_s", "loss", "nll", "aux_loss", "lr",
                            "grad_norm", "tokens_per_s", "step_ms", "moe"})
      CHECK(line.contains(key));
    for (const char* key :
         {"max_vio", "max_vio_floor", "load_cv", "load_entropy", "load_max", "load_min",
          "dead_experts", "router_entropy", "drop_rate", "tokens_without_expert",
          "router_logit_max", "bias_range", "devices_per_token", "load"}) {
      INFO(key);
      REQUIRE(line.at("moe").contains(key));
      CHECK(line.at("moe").at(key).size() == 2);
    }
    CHECK(line.at("moe").at("load").at(0).size() == 8);
  }
  SECTION("evaluation lines have every key") {
    int evaluations = 0;
    for (const auto& text : lines_of(temp.read("run/metrics.jsonl"))) {
      const auto line = nlohmann::json::parse(text);
      if (line.value("event", "") != "eval") continue;
      ++evaluations;
      for (const char* key :
           {"val_nll", "val_nll_by_domain", "excess_loss", "max_vio_global", "domain_mi"})
        CHECK(line.contains(key));
    }
    CHECK(evaluations == 2);
  }
  SECTION("the console is plain when it is no terminal") {
    CHECK(outcome.out.find('\r') == std::string::npos);
    CHECK(outcome.out.find('\033') == std::string::npos);
    CHECK(outcome.out.find("step 60/60 100%") != std::string::npos);
  }
  SECTION("a finished run shows its summary again and changes nothing") {
    const std::string before = temp.read("run/metrics.jsonl"),
                      hash = summary_of(temp, "run").at("state_hash");
    const auto again = run(tiny_training(temp, 2, "run", {"log.tensorboard=true"}), temp.path());
    CHECK(again.code == 0);
    CHECK(again.out.find("excess_loss") != std::string::npos);
    CHECK(temp.read("run/metrics.jsonl") == before);
    CHECK(summary_of(temp, "run").at("state_hash") == hash);
  }
  SECTION("its newest checkpoint verifies and evaluates to the same loss") {
    CHECK(run(switchyard(0, {"ckpt", "verify", temp.path("run")}), temp.path()).code == 0);
    const auto eval = run(
        switchyard(1, {"eval", temp.path("run"), "--json", temp.path("eval.json")}), temp.path());
    INFO(eval.err);
    REQUIRE(eval.code == 0);
    const auto json = nlohmann::json::parse(temp.read("eval.json"));
    CHECK(json.at("val_nll").get<double>() ==
          Approx(summary_of(temp, "run").at("val_nll").get<double>()).epsilon(1e-6));
  }
}

TEST_CASE("A run without validation data evaluates nothing and says so once") {
  const TempFolder temp;
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "line " + std::to_string(i) + "\n";
  const auto outcome =
      run(tiny_training(temp, 1, "run",
                        {"data.type=text", "data.paths=[" + temp.write("a.txt", text) + "]",
                         "data.validation=0", "train.steps=10", "eval.every=5"}),
          temp.path());
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.code == 0);
  const std::string note = "no validation sequence (data.validation: 0)";
  const size_t at = outcome.err.find(note);
  REQUIRE(at != std::string::npos);
  CHECK(outcome.err.find(note, at + 1) == std::string::npos);
  CHECK(outcome.out.find("nan") == std::string::npos);
  CHECK(outcome.out.find("eval ") == std::string::npos);
  CHECK(temp.read("run/metrics.jsonl").find("\"event\"") == std::string::npos);
  const auto summary = summary_of(temp, "run");
  CHECK(summary.at("steps") == 10);
  CHECK(summary.at("val_nll").is_null());
  CHECK_FALSE(summary.at("train_nll").is_null());

  SECTION("and is finished all the same") {
    const auto again =
        run(tiny_training(temp, 1, "run",
                          {"data.type=text", "data.paths=[" + temp.path("a.txt") + "]",
                           "data.validation=0", "train.steps=10", "eval.every=5"}),
            temp.path());
    CHECK(again.code == 0);
    CHECK(again.out.find("this run has finished") != std::string::npos);
  }
}

TEST_CASE("A dry run builds the model, prints its size and writes nothing") {
  const TempFolder temp;
  auto command = tiny_training(temp, 1, "run");
  command.push_back("--dry-run");
  const auto outcome = run(command, temp.path());
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.out.find("param") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(temp.path("run")));
}

}  // namespace
}  // namespace switchyard::test
