#include "trainers/run/run_end.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/temp_folder.h"

using namespace switchyard;
using test::TempFolder;

namespace {

const RunEnd kEnd{60, "abc", /*evaluated=*/true};

std::string summary(const std::string& steps, const std::string& hash, const std::string& nll) {
  return R"({"steps":)" + steps + R"(,"val_nll":)" + nll + R"(,"state_hash":")" + hash + "\"}\n";
}

bool is_final(const TempFolder& temp, const std::string& text, const RunEnd& end = kEnd) {
  const std::string found = final_summary(temp.write("summary.json", text), end);
  CHECK((found.empty() || found == text));
  return !found.empty();
}

}  // namespace

TEST_CASE("A summary is final when it speaks of the state that the run ends with") {
  const TempFolder temp;
  CHECK(is_final(temp, summary("60", "abc", "3.5")));

  CHECK_FALSE(is_final(temp, summary("30", "abc", "3.5")));
  CHECK_FALSE(is_final(temp, summary("60", "def", "3.5")));
  CHECK_FALSE(is_final(temp, summary("60", "abc", "null")));
  CHECK_FALSE(is_final(temp, R"({"steps":60,"state_hash":"abc"})"));
  CHECK(final_summary(temp.path("none.json"), kEnd) == "");
}

TEST_CASE("A run that evaluates nothing has a final summary without val_nll") {
  const TempFolder temp;
  CHECK(is_final(temp, summary("60", "abc", "null"), {60, "abc", /*evaluated=*/false}));
}

TEST_CASE("A torn or foreign file is no final summary") {
  const TempFolder temp;
  const std::string whole = summary("60", "abc", "3.5");
  for (size_t bytes = 0; bytes + 2 < whole.size(); ++bytes)
    CHECK_FALSE(is_final(temp, whole.substr(0, bytes)));
  for (const char* text : {"[]", "60", "null", "{}", R"({"steps":"60","state_hash":60})"})
    CHECK_FALSE(is_final(temp, text));
}

TEST_CASE("The last step is found among the lines of metrics.jsonl") {
  const TempFolder temp;
  const std::string path = temp.write(
      "metrics.jsonl", R"({"step":59,"nll":4.0,"tokens_per_s":7,"moe":{"drop_rate":[0.5,0.5]}})"
                       "\n"
                       R"({"step":60,"nll":3.0,"tokens_per_s":9,"moe":{"drop_rate":[0.25,0.5]}})"
                       "\n"
                       R"({"event":"eval","step":60,"val_nll":2.0,"moe":{"drop_rate":[1,1]}})"
                       "\n");
  const LastStep last = logged_step(path, 60);
  CHECK(last.nll == 3.0);
  CHECK(last.tokens_per_s == 9);
  CHECK(last.drop_rate == 0.375);
  CHECK(logged_step(path, 59).nll == 4.0);
}

TEST_CASE("What the log does not say of the last step is not known") {
  const TempFolder temp;
  for (const std::string& path :
       {temp.path("none.jsonl"), temp.write("other.jsonl", "{\"step\":59,\"nll\":4.0}\n"),
        temp.write("torn.jsonl", "{\"step\":60,\"nll\":4"),
        temp.write("null.jsonl", R"({"step":60,"nll":null,"moe":{"drop_rate":[null]}})"
                                 "\n")}) {
    INFO(path);
    const LastStep last = logged_step(path, 60);
    CHECK(std::isnan(last.nll));
    CHECK(std::isnan(last.drop_rate));
    CHECK(std::isnan(last.tokens_per_s));
  }
  SECTION("but a dense model drops nothing") {
    const std::string path = temp.write("dense.jsonl", "{\"step\":60,\"nll\":4.0,\"moe\":{}}\n");
    CHECK(logged_step(path, 60).drop_rate == 0);
  }
}
