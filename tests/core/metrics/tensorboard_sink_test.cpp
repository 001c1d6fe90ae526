#include "core/metrics/tensorboard_sink.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "core/metrics/tensorboard_event.h"
#include "tests/support/temp_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

StepReport step_report(int64_t step) {
  StepReport report;
  report.step = step;
  report.loss = 2.5;
  report.moe = {{"max_vio", {0.5, 0.25}}};
  return report;
}

std::vector<std::string> names(const std::string& folder) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<int64_t> steps(const std::string& content) {
  std::vector<int64_t> found;
  for (const auto& record : read_records(content)) found.push_back(record.step);
  return found;
}

}  // namespace

TEST_CASE("each sink writes an event file that TensorBoard finds", "[tensorboard]") {
  const test::TempFolder folder;
  TensorBoardSink sink(folder.path("tb"));
  sink.on_step(step_report(10));
  EvalReport eval;
  eval.step = 10;
  eval.nll_by_domain = {{"prose", 1.5}};
  sink.on_eval(eval);
  const TensorBoardSink second(folder.path("tb"));
  const auto files = names(folder.path("tb"));
  REQUIRE(files.size() == 2);
  CHECK_THAT(files[0], Catch::StartsWith("events.out.tfevents."));
  const std::string content = folder.read("tb/" + files[0]) + folder.read("tb/" + files[1]);
  CHECK(steps(content).size() == 4);
  for (const char* tag :
       {"train/loss", "moe/max_vio/layer_0", "moe/max_vio/layer_1", "val/nll", "val/nll/prose"}) {
    CHECK_THAT(content, Catch::Contains(tag));
  }
}

TEST_CASE("cutting removes the events of later steps from every file", "[tensorboard]") {
  const test::TempFolder folder;
  {
    TensorBoardSink one(folder.path("tb"));
    one.on_step(step_report(10));
    one.on_step(step_report(20));
    TensorBoardSink two(folder.path("tb"));
    two.on_step(step_report(30));
  }
  const auto files = names(folder.path("tb"));
  REQUIRE(files.size() == 2);
  const std::string torn = folder.read("tb/" + files[0]) + "torn";
  folder.write("tb/" + files[0], torn);
  folder.write("tb/notes.txt", "mine");

  TensorBoardSink::cut(folder.path("tb"), 10);
  CHECK(steps(folder.read("tb/" + files[0])) == std::vector<int64_t>{0, 10});
  CHECK(steps(folder.read("tb/" + files[1])) == std::vector<int64_t>{0});
  CHECK(folder.read("tb/notes.txt") == "mine");
  CHECK(torn.starts_with(folder.read("tb/" + files[0])));

  CHECK_NOTHROW(TensorBoardSink::cut(folder.path("none"), 10));
}

TEST_CASE("a folder that cannot be made is named", "[tensorboard]") {
  const test::TempFolder folder;
  folder.write("file", "x");
  CHECK_THROWS_WITH(TensorBoardSink(folder.path("file/tb")),
                    Catch::Contains("[io]") && Catch::Contains("file/tb"));
}

}  // namespace switchyard
