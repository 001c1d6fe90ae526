#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/hostile_safetensors.h"
#include "tests/support/paths.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

// Bad inputs and the one line of docs/errors.md that each gets.
namespace switchyard::test {

using Words = std::vector<std::string>;

/// A thing that a user may get wrong: `arguments` prepares it in a folder and names the command.
struct BadInput {
  std::string name;
  int code;
  int ranks;  ///< 0 = without a launcher
  std::function<Words(const TempFolder&)> arguments;
};

/// The bytes of a safetensors file.
inline std::string safetensors(const std::string& header, const std::string& content) {
  return with_size(header.size(), header + content);
}

/// Places, hashes and losses differ between machines; the docs name them by a word.
inline std::string without_places(std::string text, const TempFolder& temp) {
  const std::string folder = temp.path();
  for (size_t at; (at = text.find(folder)) != std::string::npos;)
    text.replace(at, folder.size(), "DIR/");
  text = std::regex_replace(text, std::regex("loss \\S+ and gradient norm \\S+"),
                            "loss X and gradient norm Y");
  return std::regex_replace(text, std::regex("\\b[0-9a-f]{32}\\b"), "HASH");
}

inline Words error_lines(const Outcome& outcome) {
  Words errors;
  for (const auto& line : lines_of(outcome.out + outcome.err))
    if (line.starts_with("error:")) errors.push_back(line);
  return errors;
}

/// The one error line of a bad input, as docs/errors.md shows it.
inline std::string entry_of(const BadInput& input) {
  const TempFolder temp;
  const auto outcome = run(switchyard(input.ranks, input.arguments(temp)), temp.path());
  INFO(input.name << "\n" << outcome.out << outcome.err);
  CHECK(outcome.code == input.code);
  const Words errors = error_lines(outcome);
  CHECK(errors.size() == 1);
  const std::string line = errors.empty() ? "" : without_places(errors.front(), temp);
  return "**" + input.name + "** (" + std::to_string(input.code) + ")\n```\n" + line + "\n```\n";
}

/// Checks that the page shows exactly these below its mark `<!-- section -->`.
inline void compare_with_docs(const std::string& section, const std::vector<BadInput>& inputs) {
  std::string expected;
  for (const auto& input : inputs) expected += entry_of(input);
  const std::string page = read_text(test::source_path("/docs/errors.md"));
  const std::string begin = "<!-- " + section + " -->\n";
  const size_t from = page.find(begin);
  REQUIRE(from != std::string::npos);
  const std::string found = page.substr(from + begin.size(), expected.size());
  if (found != expected) std::ofstream("errors_" + section + ".md") << expected;
  INFO("what docs/errors.md should hold is in errors_" << section << ".md of the build folder");
  CHECK(found == expected);
}

}  // namespace switchyard::test
