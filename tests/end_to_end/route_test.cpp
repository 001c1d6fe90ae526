#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/tiny_run.h"

namespace switchyard::test {
namespace {

using Words = std::vector<std::string>;

Words route(const Words& more) {
  Words words = {"route", test::source_path("/configs/route/scores.safetensors"),
                 test::source_path("/configs/moe/mixtral.yaml"), "moe.num_experts=4"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_CASE("The example of docs/route.md prints what the page shows") {
  const TempFolder temp;
  const std::string page = read_text(test::source_path("/docs/route.md"));
  const std::string mark = "<!-- example -->\n";
  const size_t from = page.find(mark) + mark.size();
  const auto shown = lines_of(page.substr(from, page.find(mark, from) - from));
  REQUIRE(shown.size() == 4);
  Words words = {"bash", "-c", shown[1].substr(2)};
  words[2].replace(0, std::string("switchyard").size(), test::binary_path());
  for (const std::string folder : {"configs/route/", "configs/moe/"})
    words[2].insert(words[2].find(folder), test::source_path("/"));
  const auto outcome = run(words, temp.path());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  // Another processor may differ in the last digits.
  const auto printed = nlohmann::json::parse(outcome.out),
             page_says = nlohmann::json::parse(shown[2]);
  REQUIRE(printed.size() == page_says.size());
  for (const auto& [name, value] : page_says.items()) {
    INFO(name);
    REQUIRE(printed.contains(name));
    if (value.is_number_float())
      CHECK(printed[name].get<double>() == Approx(value.get<double>()).epsilon(1e-5));
    else
      CHECK(printed[name] == value);
  }
}

TEST_CASE("route writes the same bytes for any number of ranks, sequences or not for each") {
  const TempFolder temp;
  std::string first;
  for (const std::string ranks : {"1", "3", "8"}) {
    const auto outcome =
        run(switchyard(0, route({"--out", temp.path(ranks), "--ranks", ranks, "--sequence-length",
                                 "2", "--train", "moe.capacity.factor=1.0"})),
            temp.path());
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const std::string all = outcome.out + temp.read(ranks);
    if (first.empty()) first = all;
    CHECK(all == first);
  }
}

TEST_CASE("route tells of settings without effect beside the metrics") {
  const TempFolder temp;
  const auto outcome = run(
      switchyard(0, route({"--out", temp.path("out"), "moe.capacity.order=random"})), temp.path());
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find(
            "note: command line: moe.capacity.order=random: moe.capacity.order has no effect: no "
            "capacity is set (moe.capacity.factor: none)\n") != std::string::npos);
  CHECK(nlohmann::json::parse(outcome.out).contains("co_activation"));
}

TEST_CASE("route leaves an old output as it was when it cannot work, and nothing beside it") {
  const TempFolder temp;
  const std::string out = temp.write("out", "old");
  const auto refused =
      run(switchyard(0, route({"--out", out, "--sequence-length", "3"})), temp.path());
  CHECK(refused.code == 2);
  CHECK(temp.read("out") == "old");
  CHECK(run(switchyard(0, route({"--out", out})), temp.path()).code == 0);
  CHECK(temp.read("out") != "old");
  CHECK_FALSE(std::filesystem::exists(out + ".partial"));
}

}  // namespace
}  // namespace switchyard::test
