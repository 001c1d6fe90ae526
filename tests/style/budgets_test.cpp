#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/source_tree.h"

namespace switchyard::style {
namespace {

constexpr size_t kFileLines = 500;
constexpr size_t kFunctionLines = 80;
constexpr size_t kFolderFiles = 15;
constexpr size_t kFamilyFiles = 40;

/// Folders that hold many small variants of one thing: operations, routers and their parts, terms,
/// token sources, metrics and sinks.
const std::vector<std::string> kFamilies = {"core/kernels",     "core/moe",  "core/moe/options",
                                            "core/moe/routers", "core/loss", "core/data",
                                            "core/metrics"};

struct Function {
  std::string name;
  size_t lines;
};

/// Definitions at the left margin, which is where clang-format puts every function outside a class.
std::vector<Function> functions(const std::vector<std::string>& code) {
  static const std::regex kOther(
      "^(namespace|class|struct|enum|union|extern|template|#|\\}|using|\\{|//).*");
  std::vector<Function> found;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i].empty() || code[i][0] == ' ' || std::regex_match(code[i], kOther)) continue;
    size_t open = i;
    while (open < code.size() && code[open].find_first_of("{;") == std::string::npos) ++open;
    if (open == code.size() || code[open].find('{') == std::string::npos) continue;
    size_t close = open;
    while (close < code.size() && (code[close].empty() || code[close][0] != '}')) ++close;
    if (code[open].find('}') != std::string::npos) close = open;
    found.push_back({code[i], close - i + 1});
    i = close;
  }
  return found;
}

TEST_CASE("Files, functions and folders stay small") {
  const auto files = read_code({"core", "parallel", "trainers", "launch", "tests"});

  SECTION("files") {
    for (const auto& file : files) {
      INFO(file.path << " has " << file.lines.size() << " lines; could it be two things?");
      CHECK(file.lines.size() <= kFileLines);
    }
  }

  SECTION("functions") {
    for (const auto& file : files) {
      if (file.folder.rfind("tests", 0) == 0) continue;
      for (const auto& function : functions(file.code)) {
        INFO(file.path << ": " << function.name << " has " << function.lines << " lines");
        CHECK(function.lines <= kFunctionLines);
      }
    }
  }

  SECTION("folders") {
    std::map<std::string, size_t> count;
    for (const auto& file : files)
      if (file.folder.rfind("tests", 0) != 0) ++count[file.folder];
    for (const auto& [folder, size] : count) {
      const bool family = std::find(kFamilies.begin(), kFamilies.end(), folder) != kFamilies.end();
      INFO(folder << " holds " << size << " files");
      CHECK(size <= (family ? kFamilyFiles : kFolderFiles));
    }
  }
}

TEST_CASE("Headers begin with #pragma once") {
  for (const auto& file : read_code({"core", "parallel", "trainers", "launch", "tests"})) {
    if (file.path.substr(file.path.find_last_of('.')) != ".h") continue;
    INFO(file.path);
    REQUIRE_FALSE(file.lines.empty());
    CHECK(file.lines.front() == "#pragma once");
  }
}

TEST_CASE("The function budget measures whole definitions") {
  const std::vector<std::string> code = {"namespace a {",
                                         "int f(int x,",
                                         "      int y) {",
                                         "  return x;",
                                         "}",
                                         "int g() { return 1; }",
                                         "const int kTable[] = {",
                                         "    1,",
                                         "};",
                                         "class C {",
                                         "  void h() {}",
                                         "};",
                                         "int declared();",
                                         "}"};
  const auto found = functions(code);
  REQUIRE(found.size() == 3);
  CHECK(found[0].lines == 4);
  CHECK(found[1].lines == 1);
}

}  // namespace
}  // namespace switchyard::style
