#include "core/config/value.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/core/config/config_test_support.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using config_test::error_of;

namespace {

Value plain(const std::string& text) {
  Value value = Value::of_word(text);
  value.mark = value.key_mark = {"a.yaml", 3, 9};
  value.path = "train.steps";
  return value;
}

Value quoted(const std::string& text) {
  Value value = plain(text);
  value.quoted = true;
  return value;
}

}  // namespace

TEST_CASE("integers are read in every decimal spelling of a whole number") {
  const std::vector<std::pair<std::string, int64_t>> cases = {{"0", 0},
                                                              {"7", 7},
                                                              {"-3", -3},
                                                              {"+3", 3},
                                                              {"1e6", 1'000'000},
                                                              {"1E6", 1'000'000},
                                                              {"1_000", 1000},
                                                              {"1_000_000", 1'000'000},
                                                              {"2.5e3", 2500},
                                                              {"4.0", 4},
                                                              {"9223372036854775807", INT64_MAX}};
  for (const auto& [text, expected] : cases) {
    CAPTURE(text);
    CHECK(plain(text).as_integer() == expected);
  }
}

TEST_CASE("integers refuse what only looks like one") {
  for (const char* text : {"1.5",  "1e-1",  "010",   "-010", "0x10",
                           "0o17", "five",  "",      "1_",   "_1",
                           "1__0", "1e",    "1 000", "1e6x", ".nan",
                           ".inf", "-.inf", "nan",   "inf",  "9223372036854775808",
                           "1e19", "1e16",  "true",  "-",    "+",
                           "--1",  "1,000", "٣"}) {
    CAPTURE(text);
    CHECK_THAT(error_of([&] { plain(text).as_integer(); }),
               Contains("[config] a.yaml:3:9: train.steps: "));
  }
  CHECK_THAT(error_of([] { plain("1.5").as_integer(); }),
             Contains("`1.5` is not an integer; allowed: an integer such as"));
  CHECK_THAT(error_of([] { plain("010").as_integer(); }), Contains("leading zero"));
  CHECK_THAT(error_of([] { plain("0x10").as_integer(); }), Contains("not decimal"));
}

TEST_CASE("a quoted number is text and no number") {
  CHECK_THAT(error_of([] { quoted("5").as_integer(); }),
             Contains("\"5\"") && Contains("remove the quotes"));
  CHECK_THAT(error_of([] { quoted("0.5").as_number(); }), Contains("remove the quotes"));
  CHECK_THAT(error_of([] { quoted("true").as_flag(); }), Contains("allowed: true, false"));
  CHECK(quoted("5").as_text() == "5");
}

TEST_CASE("numbers are finite and decimal") {
  CHECK(plain("0.5").as_number() == 0.5);
  CHECK(plain("3e-4").as_number() == 3e-4);
  CHECK(plain(".5").as_number() == 0.5);
  CHECK(plain("-.5").as_number() == -0.5);
  CHECK(plain("5.").as_number() == 5.0);
  CHECK(plain("1_000").as_number() == 1000.0);
  CHECK(plain("1").as_number() == 1.0);
  for (const char* text : {".nan", ".NaN", ".inf", "-.inf", ".INF", "+.inf"}) {
    CAPTURE(text);
    CHECK_THAT(error_of([&] { plain(text).as_number(); }), Contains("is not finite"));
  }
  for (const char* text :
       {"nan", "inf", "infinity", "0x1p3", "01.5", "1e999", "1.5.2", "1e", "one", "", ".", "- 1"}) {
    CAPTURE(text);
    CHECK_THAT(error_of([&] { plain(text).as_number(); }), Contains("allowed: a finite number"));
  }
}

TEST_CASE("flags are true or false and nothing else") {
  CHECK(plain("true").as_flag());
  CHECK_FALSE(plain("false").as_flag());
  for (const char* text : {"yes", "no", "on", "off", "True", "FALSE", "1", "0", "y", "t"}) {
    CAPTURE(text);
    CHECK_THAT(error_of([&] { plain(text).as_flag(); }),
               Contains("is not a flag; allowed: true, false"));
  }
}

TEST_CASE("text is any scalar as written, but no list and no map") {
  CHECK(plain("2024").as_text() == "2024");
  CHECK_THAT(error_of([] { Value::list({}).as_text(); }), Contains("`[]` is not text"));
  CHECK_THAT(error_of([] { Value::of_map({}).as_text(); }), Contains("`{}` is not text"));
}

TEST_CASE("a number is written as the shortest text that reads back to the same bits") {
  for (const double number : {0.1, 1.0 / 3.0, 3e-4, 1e-5, 1e-8, 1e20, 1e38, 5e-324, 123456789.123,
                              0.0, -2.5, 10000.0, double{std::numeric_limits<float>::max()}}) {
    const Value value = Value::of_number(number);
    CAPTURE(value.scalar);
    CHECK(value.as_number() == number);
  }
  CHECK(Value::of_number(0.1).scalar == "0.1");
  CHECK(Value::of_number(10000.0).scalar == "10000");
  // YAML 1.1 readers take a number with exponent and without a point for text.
  CHECK(Value::of_number(1e-5).scalar == "1.0e-05");
}

TEST_CASE("text that another reader would take for something else is quoted") {
  for (const char* text :
       {"",   "5",    "1.5", "true", "no", "null", "~",    "a: b", "- a", "#x", "[a",   " a",
        "a ", "a #b", "*a",  "&a",   "a:", "Yes",  "a\nb", "1e5",  ".5",  "@a", "a, b", "`a"}) {
    CAPTURE(text);
    CHECK(Value::of_text(text).quoted);
  }
  for (const char* text :
       {"runs/a", "quickstart", "a-b", "a b", "ä", "a.txt", "../data", "/abs", "x#y", "http://a"}) {
    CAPTURE(text);
    CHECK_FALSE(Value::of_text(text).quoted);
  }
}

TEST_CASE("an error quotes a long value shortened, between whole characters") {
  const std::string shown = plain(std::string(59, 'a') + "äöü" + std::string(100, 'b')).shown();
  CHECK(shown == "`" + std::string(59, 'a') + "...`");
}

TEST_CASE("origins") {
  Origins origins;
  origins.set("moe.router.type", {"a.yaml", 2, 3});
  origins.set("moe.router.groups", {"a.yaml", 3, 3});
  origins.set("moe.router_x", {"a.yaml", 4, 3});
  SECTION("name the place of a value, or default") {
    CHECK(origins.text("moe.router.type") == "a.yaml:2:3");
    CHECK(origins.text("moe.top_k") == "default");
  }
  SECTION("forget a block and nothing beside it") {
    origins.erase("moe.router");
    CHECK(origins.find("moe.router.type") == nullptr);
    CHECK(origins.find("moe.router.groups") == nullptr);
    CHECK(origins.find("moe.router_x") != nullptr);
  }
}

TEST_CASE("a number that fp32 cannot hold is refused, it would be infinite in a model") {
  CHECK(plain("3.4028235e38").as_number() == 3.4028235e38);
  CHECK(plain("-3.4028235e38").as_number() == -3.4028235e38);
  CHECK(static_cast<float>(plain("3.4028235e38").as_number()) == std::numeric_limits<float>::max());
  for (const char* text : {"3.403e38", "-1e39", "1e300"}) {
    CAPTURE(text);
    CHECK_THAT(error_of([&] { plain(text).as_number(); }),
               Contains(std::string("`") + text +
                        "` is beyond ±3.4028235e+38, the largest number of fp32"));
  }
}
