#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/source_tree.h"

namespace switchyard::style {
namespace {

/// What the text of a project does not say, each pattern in two halves so that this file passes its
/// own check.
std::regex unwanted_words() {
  const std::vector<std::pair<std::string, std::string>> kHalves = {
      {"\\bTO", "DO\\b"},        {"\\bFIX", "ME\\b"}, {"\\bXX", "X\\b"},
      {"not supported", " yet"}, {"/wo", "rk/"},      {"\\.\\./sha", "red"},
      {"\\bissue", " #?[0-9]"},  {"/ro", "ot/"},      {"\\bas an AI", " "},
      {"\\bthe le", "ad\\b"},
  };
  std::string pattern;
  for (const auto& [first, second] : kHalves)
    pattern += (pattern.empty() ? "" : "|") + first + second;
  return std::regex(pattern, std::regex::icase);
}

TEST_CASE("The text speaks of the project, and leaves nothing for later") {
  const auto pattern = unwanted_words();
  const auto files = read_text();
  REQUIRE(files.size() > 30);
  for (const auto& file : files) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      INFO(file.path << ":" << i + 1 << ": " << file.lines[i]);
      if (std::regex_search(file.lines[i], pattern)) CHECK(false);
    }
  }
}

TEST_CASE("Text is clean: no tabs, no trailing blanks, a newline at the end") {
  for (const auto& file : read_text()) {
    const auto path = std::filesystem::path(test::source_path()) / file.path;
    std::ifstream in(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    INFO(file.path);
    CHECK(text.find('\t') == std::string::npos);
    CHECK(text.find('\r') == std::string::npos);
    CHECK(text.find(" \n") == std::string::npos);
    if (!text.empty()) CHECK(text.back() == '\n');
  }
}

TEST_CASE("The word check sees what it looks for") {
  CHECK(std::regex_search(std::string("// TO").append("DO: later"), unwanted_words()));
  CHECK_FALSE(std::regex_search(std::string("a todolist"), unwanted_words()));
}

}  // namespace
}  // namespace switchyard::style
