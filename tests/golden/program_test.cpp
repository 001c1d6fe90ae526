#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "tests/golden/golden_model.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_run.h"
#include "tests/support/token_bytes.h"

// What a user does: import, verify, evaluate, train on.

using namespace switchyard;
using namespace switchyard::golden;
using test::Outcome;
using test::TempFolder;

namespace {

Outcome program(const TempFolder& temp, int ranks, const std::vector<std::string>& words) {
  const Outcome outcome = test::run(test::switchyard(ranks, words), temp.path());
  INFO(outcome.out << outcome.err);
  CHECK(outcome.code == 0);
  return outcome;
}

std::string import_model(const TempFolder& temp, const std::string& name) {
  const std::string out = temp.path(name);
  program(temp, 0, {"ckpt", "import", "--format", "hf", test::golden_folder(name), out});
  return out;
}

/// The golden input as a token file.
std::string ids_file(const TempFolder& temp, const Golden& golden) {
  const at::Tensor ids = golden("input_ids").contiguous().flatten();
  const int64_t* data = ids.const_data_ptr<int64_t>();
  return temp.write("ids.bin", test::raw_tokens<uint16_t>({data, data + ids.numel()}));
}

}  // namespace

TEST_CASE("golden: ckpt import, then eval on a token file, gives the golden nll") {
  for (const auto& name : kModels) {
    const TempFolder temp;
    const Golden golden = read_golden(name);
    const std::string out = import_model(temp, name), ids = ids_file(temp, golden);
    program(temp, 0, {"ckpt", "verify", out});
    for (const int ranks :
         name == "deepseek_v3" || name == "olmoe" ? std::vector<int>{0, 2} : std::vector<int>{0}) {
      program(temp, ranks,
              {"eval", out, "data.type=tokens", "data.paths=[" + ids + "]",
               "data.documents.length=17", "--json", temp.path("eval.json")});
      const auto report = nlohmann::json::parse(temp.read("eval.json"));
      const double off =
          std::abs(report.at("val_nll").get<double>() - golden("nll").item<double>());
      std::cout << fmt::format("golden: {}, eval on {} ranks: nll differs by {:.1e}\n", name,
                               std::max(ranks, 1), off);
      CHECK(report.at("tokens") == 48);
      CHECK(off <= 1e-5);
    }
  }
}

TEST_CASE("golden: training starts from an imported model") {
  const TempFolder temp;
  const Golden golden = read_golden("deepseek_v3");
  const std::string out = import_model(temp, "deepseek_v3");
  temp.write("run.yaml", fmt::format(R"(
base: {}/config.yaml
run: {{name: on, dir: {}, init_from: {}}}
train: {{steps: 2, sequences_per_step: 4, micro_sequences: 4, sequence_length: 16}}
eval: {{every: 0}}
checkpoint: {{every: 1}}
log: {{every: 1, tensorboard: false}}
)",
                                     out, temp.path("on"), out));

  SECTION("and resumes its own checkpoint after that, on other ranks too") {
    const auto first = program(temp, 2, {"train", temp.path("run.yaml"), "train.steps=1"});
    CHECK(first.err.find("weights from " + out) != std::string::npos);
    const auto second = program(temp, 0, {"train", temp.path("run.yaml")});
    CHECK(second.err.find("resumed from step 1") != std::string::npos);
    CHECK(second.err.find("weights from") == std::string::npos);
    CHECK(test::summary_of(temp, "on").at("steps") == 2);
  }
  SECTION("by the name of the imported folder, wherever it starts") {
    const auto outcome = program(temp, 0,
                                 {"train", out, "run.dir=" + temp.path("on"), "train.steps=1",
                                  "train.sequences_per_step=4", "train.micro_sequences=4"});
    CHECK(outcome.err.find("weights from " + out) != std::string::npos);
    CHECK(outcome.err.find("has no effect") == std::string::npos);
  }
  SECTION("with a rule that averages counts, whose state starts afresh") {
    program(temp, 0, {"train", temp.path("run.yaml"), "moe.bias.ema=0.9", "train.steps=1"});
  }
  SECTION("in fp64 too") {
    program(temp, 0, {"train", temp.path("run.yaml"), "train.precision=fp64", "train.steps=1"});
  }
  SECTION("and names what differs") {
    const auto refused =
        test::run(test::switchyard(2, {"train", temp.path("run.yaml"), "moe.router.kept_groups=1",
                                       "moe.top_k=3", "moe.balance=[{type: z}]"}),
                  temp.path());
    CHECK(refused.code == 2);
    CHECK(refused.err.find("run.init_from needs the same model and moe: moe.top_k: 4 → 3, "
                           "moe.router.kept_groups: 2 → 1") != std::string::npos);
    for (const std::string type : {"none", "multiplicative"}) {
      const auto without =
          test::run(test::switchyard(0, {"train", temp.path("run.yaml"), "moe.bias.type=" + type}),
                    temp.path());
      CHECK(without.code == 2);
      CHECK(without.err.find("but moe.bias.type is " + type) != std::string::npos);
    }
  }
}
