#include "core/data/inspect.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"

namespace switchyard {

TEST_CASE("inspecting text shows sizes, shares and a readable sample of each domain", "[inspect]") {
  const test::TempFolder folder;
  folder.write("a.txt", std::string(2000, 'a'));
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "line\n\t.";
  folder.write("b.txt", lines);
  DataOptions options;
  options.type = "text";
  options.root = folder.path();
  options.domains = {{"plain", {{{"a.txt"}, ""}, 3}}, {"lines", {{{"b.txt"}, ""}, 1}}};
  SourceContext context;
  context.sequence_length = 16;
  const std::string text = inspect_data(options, context);
  CHECK_THAT(text, Catch::Contains("vocabulary 256"));
  CHECK_THAT(text, Catch::Contains("2,000") && Catch::Contains("75.0%"));
  CHECK_THAT(text, Catch::Contains("1,400") && Catch::Contains("25.0%"));
  CHECK_THAT(text, Catch::Contains("aaaaaaaaaaaaaaaa\n"));
  CHECK_THAT(text, Catch::Contains("line\\n\\x09.") || Catch::Contains("ine\\n\\x09."));
}

TEST_CASE("inspecting the synthetic corpus shows its documents", "[inspect]") {
  const std::string text = inspect_data(DataOptions{}, SourceContext{});
  CHECK_THAT(text, Catch::Contains("vocabulary 80") && Catch::Contains("127 of 128 targets"));
  CHECK_THAT(text, Catch::Contains("64 9 62 26 51 10 16 60 44 44 17 22"));
}

TEST_CASE("inspecting missing data fails as training would", "[inspect]") {
  DataOptions options;
  options.type = "text";
  options.files.paths = {"/nowhere/a.txt"};
  CHECK_THROWS_AS(inspect_data(options, SourceContext{}), DataError);
}

}  // namespace switchyard
