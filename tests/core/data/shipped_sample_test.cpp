#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "core/config/fields.h"
#include "core/config/layers.h"
#include "core/config/yaml.h"
#include "core/data/file_source.h"
#include "tests/support/paths.h"
#include "tests/support/sha256.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(test::source_path()) / "configs";

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

DataOptions text_domains() {
  const Value config = read_yaml_file((kConfigs / "text_domains.yaml").string());
  DataOptions options;
  Origins origins;
  apply_layer(*Fields::bind(options), *config.find("data"), origins);
  validate(options);
  return options;
}

}  // namespace

TEST_CASE("the shipped text config finds eight domains of about 256 kB", "[shipped_sample]") {
  const DataOptions options = text_domains();
  CHECK(fs::equivalent(options.root, kConfigs / "data"));
  const FileSource source(options, {});
  REQUIRE(source.domains().size() == 8);
  for (int64_t d = 0; d < 8; ++d) {
    const auto size = source.domain_size(d, 128);
    INFO(source.domains()[d]);
    CHECK(size.tokens == Approx(256000).epsilon(0.01));
    CHECK(size.validation_tokens == Approx(0.05 * size.tokens).epsilon(0.001));
    CHECK(size.validation_windows >= 32);
  }
}

TEST_CASE("every text file of the sample is listed by the config, no licence is",
          "[shipped_sample]") {
  std::set<std::string> listed, present;
  for (const auto& [name, domain] : text_domains().domains) {
    listed.insert(domain.files.paths.begin(), domain.files.paths.end());
  }
  for (const auto& entry : fs::recursive_directory_iterator(kConfigs / "data")) {
    const auto name = entry.path().lexically_relative(kConfigs / "data").generic_string();
    if (entry.path().extension() == ".txt" && name.find("LICENSE") == std::string::npos) {
      present.insert(name);
    }
  }
  CHECK(listed == present);
}

TEST_CASE("the sample is what its README says", "[shipped_sample]") {
  const std::string readme = content(kConfigs / "data/README.md");
  const std::regex row("\\| `([a-z0-9_/.]+)` \\| [0-9]+ \\| `([0-9a-f]{64})` \\|");
  int rows = 0;
  for (std::sregex_iterator it(readme.begin(), readme.end(), row), end; it != end; ++it, ++rows) {
    const std::string text = content(kConfigs / "data" / (*it)[1].str());
    INFO((*it)[1].str());
    CHECK(test::sha256(text) == (*it)[2].str());
    REQUIRE_FALSE(text.empty());
    CHECK(text.back() == '\n');
  }
  CHECK(rows == 13);
}

}  // namespace switchyard
