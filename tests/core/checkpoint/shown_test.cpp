#include "core/checkpoint/shown.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace switchyard;

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
