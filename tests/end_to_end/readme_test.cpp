#include <catch2/catch.hpp>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/tiny_run.h"

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;

/// The lines inside fenced blocks of a page.
std::vector<std::string> fenced_lines(const std::string& page) {
  std::vector<std::string> found;
  bool inside = false;
  for (const auto& line : lines_of(page)) {
    if (line.rfind("```", 0) == 0)
      inside = !inside;
    else if (inside)
      found.push_back(line);
  }
  return found;
}

TEST_CASE("The README's commands exist, and so do the files it names") {
  const fs::path root(test::source_path());
  const std::string page = read_text(root / "README.md");
  const auto lines = fenced_lines(page);
  for (const char* command : {"launch/quickstart.sh", "launch/test.sh"})
    CHECK(std::find(lines.begin(), lines.end(), command) != lines.end());

  std::smatch match;
  for (const auto& line : lines) {
    if (!std::regex_search(line, match, std::regex("^(launch/[a-z/]+\\.(sh|sbatch))"))) continue;
    INFO(line);
    CHECK(fs::exists(root / match[1].str()));
  }
  const std::regex named("\\b((configs|launch|docs)/[a-z0-9_/]+\\.(yaml|sh|sbatch|md|svg))\\b");
  for (auto it = std::sregex_iterator(page.begin(), page.end(), named);
       it != std::sregex_iterator(); ++it) {
    INFO(it->str());
    CHECK(fs::exists(root / it->str()));
  }
}

std::vector<fs::path> pages() {
  const fs::path root(test::source_path());
  std::vector<fs::path> found = {root / "README.md", root / "CONTRIBUTING.md"};
  for (const auto& entry : fs::recursive_directory_iterator(root / "docs"))
    if (entry.path().extension() == ".md") found.push_back(entry.path());
  return found;
}

/// The first group of every match.
std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern);
       it != std::sregex_iterator(); ++it)
    found.push_back((*it)[1]);
  return found;
}

TEST_CASE("Pages of the docs lead to files that exist") {
  const fs::path root(test::source_path());
  const std::regex link("\\]\\(([^)#:]+)(#[^)]*)?\\)");
  const std::regex path("`((core|parallel|trainers|launch|configs|tests|docs)/[A-Za-z0-9_/.]+)`");
  for (const auto& page : pages()) {
    const std::string text = read_text(page);
    for (const auto& target : matches(text, link)) {
      INFO(page << " links to " << target);
      CHECK(fs::exists(page.parent_path() / target));
    }
    for (const auto& named : matches(text, path)) {
      if (named.find("my_") != std::string::npos) continue;  // what the reader is told to add
      INFO(page << " names " << named);
      CHECK(fs::exists(root / named));
    }
  }
}

TEST_CASE("The quick start's training runs in a reduced form and says what it did") {
  const TempFolder temp;
  const auto outcome = run(switchyard(2, {"train", test::source_path("/configs/quickstart.yaml"),
                                          "run.dir=" + temp.path("run"), "train.steps=30",
                                          "eval.sequences=64", "optim.warmup_steps=10"}),
                           temp.path());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const auto summary = summary_of(temp, "run");
  CHECK(summary.at("excess_loss").get<double>() < 2.4);
  CHECK(summary.at("ranks") == 2);
}

TEST_CASE("The scripts explain themselves and refuse what they do not know") {
  const TempFolder temp;
  for (const char* name : {"setup", "build", "run", "quickstart", "test"}) {
    const std::string script = std::string(test::source_path("/launch/")) + name + ".sh";
    const auto help = run({script, "--help"}, temp.path());
    INFO(script);
    CHECK(help.code == 0);
    CHECK(help.out.find(std::string("launch/") + name + ".sh") == 0);
    if (std::string(name) == "quickstart") continue;
    const auto refused = run({script, "--nonsense"}, temp.path());
    CHECK(refused.code == 2);
    CHECK(refused.err.rfind("error: [", 0) == 0);
  }
}

}  // namespace
}  // namespace switchyard::test
