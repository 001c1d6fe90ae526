#include <catch2/catch.hpp>

#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/source_tree.h"

namespace switchyard::style {
namespace {

/// Folder → what it may include besides itself: folders, or single headers of a folder. Written out
/// in full (no transitive closure), as docs/architecture.md draws it.
const std::map<std::string, std::vector<std::string>>& arrows() {
  static const std::map<std::string, std::vector<std::string>> kArrows = {
      {"core/base", {}},
      {"core/config", {"core/base"}},
      {"core/data", {"core/base", "core/config"}},
      {"core/kernels", {"core/base", "core/config"}},
      {"core/checkpoint", {"core/base", "core/config"}},
      {"core/nn", {"core/base", "core/config", "core/kernels"}},
      {"core/optim", {"core/base", "core/config", "core/kernels"}},
      {"core/moe", {"core/base", "core/config", "core/kernels", "core/nn"}},
      {"core/loss",
       {"core/base", "core/config", "core/kernels", "core/moe/records.h", "core/moe/options.h",
        "core/moe/options", "core/moe/balance_term.h"}},
      {"core/metrics", {"core/base", "core/config", "core/moe/records.h"}},
      {"core/model", {"core/base", "core/config", "core/kernels", "core/nn", "core/moe"}},
      {"parallel/comm", {"core/base", "core/config"}},
      {"parallel/mesh", {"core/base", "core/config", "parallel/comm"}},
      {"parallel/expert",
       {"core/base", "core/config", "core/moe/records.h", "core/moe/token_dispatcher.h",
        "parallel/comm", "parallel/mesh"}},
      {"parallel/data",
       {"core/base", "core/config", "core/optim", "parallel/comm", "parallel/mesh"}},
      {"parallel/checkpoint",
       {"core/base", "core/config", "core/optim", "core/checkpoint", "parallel/comm",
        "parallel/mesh"}},
      {"trainers/config", {"core"}},
      {"trainers/step", {"core", "parallel", "trainers/config"}},
      {"trainers/run", {"core", "parallel", "trainers/config"}},
      {"trainers/eval", {"core", "parallel", "trainers/config", "trainers/step", "trainers/run"}},
      {"trainers/import", {"core", "parallel", "trainers/config", "trainers/run"}},
      {"trainers/route", {"core", "parallel", "trainers/config"}},
      {"trainers", {"core", "parallel", "trainers/config", "trainers/step", "trainers/run"}},
      {"launch", {"core", "parallel", "trainers"}},
  };
  return kArrows;
}

/// The row of a folder: launch/, core/kernels/ and core/moe/ are one part with the folders inside
/// them.
std::string part_of(const std::string& folder) {
  for (const std::string part : {"launch", "core/kernels", "core/moe"})
    if (folder.rfind(part + "/", 0) == 0) return part;
  return folder;
}

bool within(const std::string& path, const std::string& folder_or_file) {
  return path == folder_or_file || path.rfind(folder_or_file + "/", 0) == 0;
}

bool allowed(const std::string& folder, const std::string& included) {
  if (within(included, folder)) return true;
  for (const auto& target : arrows().at(folder))
    if (within(included, target)) return true;
  return false;
}

/// The paths between quotes or angle brackets of a file's #include lines.
std::vector<std::string> includes(const SourceFile& file) {
  static const std::regex kInclude("^\\s*#\\s*include\\s*[\"<]([^\">]+)[\">].*");
  std::vector<std::string> paths;
  std::smatch match;
  for (const auto& line : file.lines)
    if (std::regex_match(line, match, kInclude)) paths.push_back(match[1]);
  return paths;
}

std::vector<std::string> files_including(const std::vector<SourceFile>& files,
                                         const std::regex& header) {
  std::vector<std::string> found;
  for (const auto& file : files)
    for (const auto& path : includes(file))
      if (std::regex_match(path, header)) found.push_back(file.path);
  return found;
}

std::vector<std::string> lines_with(const std::vector<SourceFile>& files,
                                    const std::regex& pattern) {
  std::vector<std::string> found;
  for (const auto& file : files)
    for (size_t i = 0; i < file.code.size(); ++i)
      if (std::regex_search(file.code[i], pattern))
        found.push_back(file.path + ":" + std::to_string(i + 1) + ": " + file.lines[i]);
  return found;
}

const std::vector<std::string> kLibraries = {"core", "parallel", "trainers"};
const std::vector<std::string> kCode = {"core", "parallel", "trainers", "launch"};
const std::vector<std::string> kNothing;

TEST_CASE("Folders include only what the architecture allows") {
  const auto files = read_code(kCode);
  REQUIRE(files.size() > 20);

  SECTION("every folder with code has its row of arrows") {
    for (const auto& file : files) {
      if (file.folder == "launch/cmake") continue;
      INFO(file.path << ": add its folder to the table in tests/style/arrows_test.cpp");
      CHECK(arrows().count(part_of(file.folder)) == 1);
    }
  }

  SECTION("every include of ours follows an arrow") {
    for (const auto& file : files) {
      if (arrows().count(part_of(file.folder)) == 0) continue;
      for (const auto& path : includes(file)) {
        if (path.find('/') == std::string::npos || path.rfind("tests/", 0) == 0) continue;
        const bool ours = within(path, "core") || within(path, "parallel") ||
                          within(path, "trainers") || within(path, "launch");
        INFO(file.path << " includes " << path);
        CHECK((!ours || allowed(part_of(file.folder), path)));
      }
    }
  }

  SECTION("includes of ours start at the root and lead to a file") {
    for (const auto& file : files) {
      for (const auto& line : file.lines) {
        if (line.rfind("#include \"", 0) != 0) continue;
        const auto path = line.substr(10, line.find('"', 10) - 10);
        INFO(file.path << " includes " << path);
        CHECK(std::filesystem::exists(std::filesystem::path(test::source_path()) / path));
      }
    }
  }

  SECTION("no code includes tests") {
    CHECK(files_including(files, std::regex("tests/.*|catch2/.*")) == kNothing);
  }

  SECTION("the arrows themselves make no cycle") {
    for (const auto& [folder, targets] : arrows())
      for (const auto& [other, back] : arrows())
        for (const auto& target : targets)
          if (folder != other && within(other, target)) {
            INFO(folder << " and " << other);
            CHECK_FALSE(allowed(other, folder));
          }
  }
}

TEST_CASE("The arrow check sees what it forbids") {
  CHECK_FALSE(allowed("core/moe", "parallel/comm/thread_communicator.h"));
  CHECK_FALSE(allowed("core/base", "core/config/value.h"));
  CHECK_FALSE(allowed("parallel/expert", "core/moe/routers/router.h"));
  CHECK_FALSE(allowed("trainers", "launch/session.h"));
  CHECK(allowed("core/model", "core/moe/moe_layer.h"));
  CHECK(
      includes(
          {"", "", {"#include <mpi.h>", "// #include <x.h>", " #include \"a/b.h\"  // why"}, {}}) ==
      std::vector<std::string>{"mpi.h", "a/b.h"});
}

TEST_CASE("Each vendor header is seen by one source file") {
  const auto files = read_code(kCode);
  for (const std::string header : {"yaml-cpp/.*", "mpi\\.h", "nccl\\.h"}) {
    const auto found = files_including(files, std::regex(header));
    const std::set<std::string> unique(found.begin(), found.end());
    INFO(header << " is included by " << Catch::rangeToString(unique));
    CHECK(unique.size() <= 1);
    for (const auto& path : unique) CHECK(path.substr(path.find_last_of('.')) == ".cpp");
  }
  CHECK(files_including(read_code(kLibraries), std::regex("CLI/.*")) == kNothing);
}

TEST_CASE("Libraries neither read the environment nor end the process") {
  const auto files = read_code(kLibraries);
  SECTION("getenv is called in launch/ only") {
    CHECK(lines_with(files, std::regex("\\b(secure_)?(get|set|put)env\\s*\\(|\\benviron\\b")) ==
          kNothing);
  }
  SECTION("nothing exits, aborts or terminates") {
    CHECK(lines_with(files, std::regex("\\b(_?exit|_Exit|quick_exit|abort|terminate)\\s*\\(")) ==
          kNothing);
  }
  SECTION("the scan sees calls, and no words in comments or text") {
    const std::vector<std::string> text = {"std::exit(1);", "// exit(1)",
                                           "say(\"exit(1)\"); /* exit(1) */"};
    const std::vector<SourceFile> sample = {{"f", "", text, without_comments_and_literals(text)}};
    CHECK(lines_with(sample, std::regex("\\bexit\\(")) ==
          std::vector<std::string>{"f:1: std::exit(1);"});
  }
}

}  // namespace
}  // namespace switchyard::style
