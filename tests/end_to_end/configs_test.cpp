#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> shipped_configs() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(test::source_path("/configs")))
    if (entry.path().extension() == ".yaml") found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

TEST_CASE("Every shipped config passes the check and runs two steps") {
  const auto configs = shipped_configs();
  REQUIRE(configs.size() >= 9);
  for (const auto& config : configs) {
    const TempFolder temp;
    const auto check = run(switchyard(0, {"config", "check", config}), temp.path());
    INFO(config << ": " << check.err);
    CHECK(check.code == 0);

    const auto training =
        run(switchyard(2, {"train", config, "run.dir=" + temp.path("run"), "train.steps=2",
                           "eval.every=0", "checkpoint.every=0"}),
            temp.path());
    INFO(training.err);
    CHECK(training.code == 0);
    CHECK(fs::exists(temp.path("run/summary.json")));
  }
}

TEST_CASE("config show gives a config that gives the same config") {
  for (const auto& config : shipped_configs()) {
    const TempFolder temp;
    const auto first = run(switchyard(0, {"config", "show", config}), temp.path());
    INFO(config << ": " << first.err);
    REQUIRE(first.code == 0);
    const auto shown = temp.write("shown.yaml", first.out);
    CHECK(run(switchyard(0, {"config", "check", shown}), temp.path()).code == 0);
    const auto diff = run(switchyard(0, {"config", "diff", config, shown}), temp.path());
    INFO(diff.out);
    CHECK(diff.code == 0);
    CHECK(lines_of(diff.out).size() == 1);
  }
}

TEST_CASE("docs/configuration.md holds the key tables that the program prints") {
  const TempFolder temp;
  const auto tables = run(switchyard(0, {"config", "tables"}), temp.path());
  REQUIRE(tables.code == 0);
  const std::string page = read_text(test::source_path("/docs/configuration.md"));
  INFO("replace the tables of docs/configuration.md by the output of: switchyard config tables");
  CHECK(page.find(tables.out) != std::string::npos);
}

TEST_CASE("Every YAML block of docs/balancing.md passes the check") {
  const std::string page = read_text(test::source_path("/docs/balancing.md"));
  const std::string fence = "```yaml\n";
  size_t blocks = 0;
  for (size_t at = page.find(fence); at != std::string::npos; at = page.find(fence, at)) {
    at += fence.size();
    const std::string text = page.substr(at, page.find("```", at) - at);
    const TempFolder temp;
    const auto check =
        run(switchyard(0, {"config", "check", temp.write("block.yaml", text)}), temp.path());
    INFO(text << check.err);
    CHECK(check.code == 0);
    ++blocks;
  }
  CHECK(blocks >= 6);
}

}  // namespace
}  // namespace switchyard::test
