#include "core/metrics/jsonl_sink.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"

namespace switchyard {
namespace {

StepReport step_report(int64_t step) {
  StepReport report;
  report.step = step;
  report.tokens = step * 4096;
  report.wall_s = 1.5;
  report.loss = 2.813, report.nll = 2.801, report.aux_loss = 0.012;
  report.lr = 3e-4;
  report.grad_norm = 0.1 + 0.2;
  report.tokens_per_s = 69400, report.step_ms = 59;
  report.moe = {{"max_vio", {0.25, std::nan("")}}, {"drop_rate", {0, 0.5}}};
  report.load = {{1, 2}, {3, 0}};
  return report;
}

EvalReport eval_report(int64_t step) {
  EvalReport report;
  report.step = step;
  report.sequences = 64;
  report.tokens = 8128;
  report.nll = 1.25;
  report.nll_by_domain = {{"b", 1.5}, {"a", 1.0}};
  report.moe = {{"max_vio_global", {0.5, 0.25}}, {"domain_mi", {1, 2}}};
  return report;
}

}  // namespace

TEST_CASE("a training line holds the keys in their order", "[jsonl]") {
  CHECK(json_line(step_report(3)) ==
        R"({"step":3,"tokens":12288,"wall_s":1.5,"loss":2.813,"nll":2.801,"aux_loss":0.012,)"
        R"("lr":3e-04,"grad_norm":0.30000000000000004,"tokens_per_s":69400,"step_ms":59,)"
        R"("moe":{"drop_rate":[0,0.5],"max_vio":[0.25,null],"load":[[1,2],[3,0]]}})"
        "\n");
}

TEST_CASE("a skipped update is marked", "[jsonl]") {
  StepReport report = step_report(1);
  report.nll = std::nan("");
  report.skipped = true;
  const auto line = nlohmann::json::parse(json_line(report));
  CHECK(line["skipped"] == true);
  CHECK(line["nll"].is_null());
}

TEST_CASE("an evaluation line names itself", "[jsonl]") {
  EvalReport report = eval_report(7);
  SECTION("text") {
    report.bits_per_byte = 2.7;
    CHECK(json_line(report) ==
          R"({"event":"eval","step":7,"sequences":64,"tokens":8128,"val_nll":1.25,)"
          R"("val_nll_by_domain":{"b":1.5,"a":1},"bits_per_byte":2.7,"max_vio_global":0.375,)"
          R"("domain_mi":1.5,"moe":{"domain_mi":[1,2],"max_vio_global":[0.5,0.25]}})"
          "\n");
  }
  SECTION("a second way to evaluate") {
    report.nll_token_choice = 1.5;
    CHECK(nlohmann::json::parse(json_line(report))["val_nll_token_choice"] == 1.5);
    CHECK_FALSE(nlohmann::json::parse(json_line(report)).contains("val_nll_whole_batch"));
    report.nll_whole_batch = 1.125;
    CHECK(nlohmann::json::parse(json_line(report))["val_nll_whole_batch"] == 1.125);
  }
  SECTION("the large tables are on demand") {
    report.co_activation = {{{1, 0.5}, {std::nan(""), std::nan("")}}};
    report.received = {{3, 4}};
    CHECK_FALSE(nlohmann::json::parse(json_line(report)).contains("co_activation"));
    const auto line = nlohmann::json::parse(json_line_with_tables(report));
    CHECK(line["co_activation"].dump() == "[[[1,0.5],[null,null]]]");
    CHECK(line["moe"]["received"].dump() == "[[3,4]]");
  }
  SECTION("synthetic") {
    report.excess_loss = 0.03125;
    CHECK(nlohmann::json::parse(json_line(report))["excess_loss"] == 0.03125);
  }
}

TEST_CASE("lines are on disk when the report returns, after those already there", "[jsonl]") {
  const test::TempFolder folder;
  folder.write("m.jsonl", json_line(step_report(1)));
  JsonlSink sink(folder.path("m.jsonl"));
  sink.on_step(step_report(2));
  CHECK(folder.read("m.jsonl") == json_line(step_report(1)) + json_line(step_report(2)));
  sink.on_eval(eval_report(2));
  CHECK(folder.read("m.jsonl") ==
        json_line(step_report(1)) + json_line(step_report(2)) + json_line(eval_report(2)));
}

TEST_CASE("a path that cannot be written is named", "[jsonl]") {
  CHECK_THROWS_WITH(JsonlSink("/nowhere/m.jsonl"),
                    Catch::StartsWith("[io] /nowhere/m.jsonl: cannot open"));
}

TEST_CASE("cutting keeps what the checkpoint knows", "[jsonl]") {
  const test::TempFolder folder;
  const std::string early = json_line(step_report(10)) + json_line(eval_report(10));
  const std::string late = json_line(step_report(20)) + json_line(eval_report(20));
  const auto cut = [&](const std::string& content, int64_t step) {
    const auto path = folder.write("m.jsonl", content);
    JsonlSink::cut(path, step);
    return folder.read("m.jsonl");
  };
  SECTION("later lines go") {
    CHECK(cut(early + late, 10) == early);
  }
  SECTION("all lines stay") {
    CHECK(cut(early + late, 20) == early + late);
  }
  SECTION("all lines go") {
    CHECK(cut(early, 0).empty());
  }
  SECTION("a torn last line goes, whatever its step") {
    CHECK(cut(early + late.substr(0, 40), 30) == early);
    CHECK(cut(early + "{\"step\": 2", 30) == early);
    CHECK(cut(early + std::string("\0\0\0\n", 4), 30) == early);
  }
  SECTION("a damaged line in between is an error") {
    CHECK_THROWS_AS(cut(early + "garbage\n" + late, 20), IoError);
  }
  SECTION("a missing file stays missing") {
    JsonlSink::cut(folder.path("none"), 5);
    CHECK_FALSE(std::filesystem::exists(folder.path("none")));
  }
}

}  // namespace switchyard
