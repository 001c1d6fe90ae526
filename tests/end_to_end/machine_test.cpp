#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

// What doctor and bench say of the machine that they run on.
namespace switchyard::test {
namespace {

TEST_CASE("doctor has a line for everything that it looks at") {
  const TempFolder temp;
  const auto outcome = run(switchyard(2, {"doctor"}), temp.path());
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.code == 0);
  for (const std::string what : {"cores", "memory", "matrix product", "GPU", "disk", "ranks"}) {
    INFO(what);
    int found = 0;
    for (const auto& line : lines_of(outcome.out))
      found += line.starts_with("ok   " + what + "  ") || line.starts_with("!!   " + what + "  ");
    CHECK(found == 1);
  }
  CHECK(outcome.out.find("2 (2 on this host), ") != std::string::npos);
  const std::string last = lines_of(outcome.out).back();
  CHECK((last == "Nothing is wrong." || last.ends_with(" problem(s).")));
}

TEST_CASE("bench end_to_end times as many steps as it is told") {
  const TempFolder temp;
  const auto outcome =
      run(switchyard(0, {"bench", "end_to_end", "--steps", "2", "--json", temp.path("bench.json")}),
          temp.path());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(outcome.out.starts_with("mixtral: "));
  const auto json = nlohmann::json::parse(temp.read("bench.json"));
  CHECK(json.at("form") == "mixtral");
  CHECK(json.at("step_ms").size() == 2);
  CHECK(json.at("ranks") == 1);
  CHECK(json.at("active").get<int64_t>() < json.at("params").get<int64_t>());
  CHECK(json.at("tok_s_median").get<double>() <= json.at("tok_s_best").get<double>());
  for (const char* key : {"tok_s_median", "peak_mb", "threads"})
    CHECK(json.at(key).get<double>() > 0);
}

TEST_CASE("bench end_to_end refuses a form that it does not know") {
  const TempFolder temp;
  const auto outcome = run(switchyard(0, {"bench", "end_to_end", "--form", "dense"}), temp.path());
  CHECK(outcome.code == 2);
  CHECK(outcome.err == "error: [config] bench: dense is not a form; known: mixtral, fine\n");
}

}  // namespace
}  // namespace switchyard::test
