#include "core/checkpoint/strict_json.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "core/base/error.h"

using namespace switchyard;
using Catch::Matchers::Contains;

namespace {

std::string problem(const std::string& text) {
  try {
    parse_strict_json(text, "here.json", 3);
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("JSON is read into the values written") {
  const auto value = parse_strict_json(R"({"a": [1, "x"], "b": {"c": true}})", "here.json", 3);
  CHECK(value["a"][1] == "x");
  CHECK(value["b"]["c"] == true);
}

TEST_CASE("JSON that a lax reader takes is refused with the place") {
  CHECK_THAT(problem(R"({"a": 1, "a": 2})"),
             Contains("here.json") && Contains("\"a\" appears twice"));
  CHECK_THAT(problem(R"([{"b": {"a": 1, "a": 2}}])"), Contains("appears twice"));
  CHECK_THAT(problem(R"({"a": 1} x)"), Contains("not valid JSON"));
  CHECK_THAT(problem(R"({"a": 1}{})"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": \"\xff\"}"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": \"\xc0\xaf\"}"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": \"\xed\xa0\x80\"}"), Contains("not valid JSON"));
  CHECK_THAT(problem(R"({"a": "\ud800"})"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": NaN}"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": 01}"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": 1 /* c */}"), Contains("not valid JSON"));
  CHECK_THAT(problem("{\"a\": 1,}"), Contains("not valid JSON"));
  CHECK_THAT(problem("\xef\xbb\xbf[01]"), Contains("not valid JSON"));
  CHECK_THAT(problem(std::string("{\"a\": 1}\0 x", 11)), Contains("NUL byte"));
  CHECK_THAT(problem(""), Contains("not valid JSON"));
}

TEST_CASE("Nesting is limited, however deep the text goes") {
  CHECK(problem("[[[1]]]") == "accepted");
  CHECK_THAT(problem("[[[[1]]]]"), Contains("more than 3 levels"));
  CHECK_THAT(problem(std::string(1'000'000, '[')), Contains("more than 3 levels"));
}

TEST_CASE("The same key in two objects is no duplicate") {
  CHECK(problem(R"({"a": {"x": 1}, "b": {"x": 2}})") == "accepted");
  CHECK(problem(R"([{"x": 1}, {"x": 2}])") == "accepted");
}

TEST_CASE("Lists and objects are limited, and nothing is read beyond the limit") {
  const auto limited = [](const std::string& text) {
    try {
      parse_strict_json(text, "here.json", JsonLimits(3, 2, 2));
    } catch (const CheckpointError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  CHECK(limited(R"([[1, 2], {"a": [], "b": 1}])") == "accepted");
  CHECK_THAT(limited("[1, 2, 3 this is no JSON"), Contains("here.json: a list of more than 2"));
  CHECK_THAT(limited("[[], [], [] !"), Contains("a list of more than 2 entries"));
  CHECK_THAT(limited("[{}, {}, {} !"), Contains("a list of more than 2 entries"));
  CHECK_THAT(limited(R"({"a": 1, "b": 2, "c" !)"), Contains("an object of more than 2 keys"));
}

TEST_CASE("The members of a document come one by one, in the order written") {
  std::string seen;
  const auto read = [&](const std::string& text) {
    seen.clear();
    read_strict_members(text, "here.json", JsonLimits(3, 4, 1),
                        [&](const std::string& key, const nlohmann::json& value) {
                          seen += key + "=" + value.dump() + " ";
                        });
  };
  read(R"({"b": 1, "a": {"x": [1, 2]}, "d": [{}, null], "c": "z"})");
  CHECK(seen == R"(b=1 a={"x":[1,2]} d=[{},null] c="z" )");
  CHECK_THROWS_WITH(read(R"({"a": 1, "b": 2, "a": 3})"), Contains("\"a\" appears twice"));
  CHECK(seen == "a=1 b=2 ");
  CHECK_THROWS_WITH(read(R"({"a": {"x": 1, "y": 2}})"), Contains("more than 1 keys"));
  CHECK_THROWS_WITH(read(R"({"a": 1} x)"), Contains("not valid JSON"));
}

TEST_CASE("A name is shown in quotes, as ASCII on one line, and cut") {
  CHECK(shown_name("model.norm.weight") == "\"model.norm.weight\"");
  CHECK(shown_name("a\nb\x1b[31m\x7f\"") == R"("a\nb\u001b[31m\u007f\"")");
  CHECK(shown_name("\xc3\xa4") == R"("\u00e4")");
  CHECK(shown_name("\xff") == R"("\ufffd")");
  CHECK(shown_name(std::string(120, 'n')) == '"' + std::string(120, 'n') + '"');
  CHECK(shown_name(std::string(121, 'n')) == '"' + std::string(120, 'n') + "\"...");
  CHECK(shown_name(std::string(119, 'n') + "\xc3\xa4") ==
        '"' + std::string(119, 'n') + "\\ufffd\"...");
}

TEST_CASE("A text is shown like a name, without quotes") {
  CHECK(shown_text("") == "");
  CHECK(shown_text("process 1 on \"a\"\n\x1b[31m") == R"(process 1 on \"a\"\n\u001b[31m)");
  CHECK(shown_text(std::string(200, 'n')) == std::string(200, 'n'));
  CHECK(shown_text(std::string(201, 'n')) == std::string(200, 'n') + "...");
}

TEST_CASE("Of many names the first five are shown, and their number") {
  CHECK(shown_names({}) == "");
  CHECK(shown_names({"a", "b\n"}) == R"("a", "b\n")");
  CHECK(shown_names({"a", "b", "c", "d", "e"}) == R"("a", "b", "c", "d", "e")");
  CHECK(shown_names({"a", "b", "c", "d", "e", "f", "g"}) ==
        R"("a", "b", "c", "d", "e" and 2 more)");
}

TEST_CASE("A value is shown as JSON, and cut") {
  CHECK(shown_json({{"a", {1, nullptr}}}) == R"({"a":[1,null]})");
  CHECK(shown_json(std::string(100, 'x')) == '"' + std::string(76, 'x') + "...");
}
