#include "core/metrics/file_output.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"

namespace switchyard {

TEST_CASE("appending adds to what is there", "[file_output]") {
  const test::TempFolder folder;
  folder.write("f", "one\n");
  AppendFile file(folder.path("f"));
  file.append("two\n");
  CHECK(folder.read("f") == "one\ntwo\n");
  CHECK(read_file(folder.path("f")) == "one\ntwo\n");
}

TEST_CASE("a full disk is an error that names the file", "[file_output]") {
  AppendFile full("/dev/full");
  CHECK_THROWS_WITH(full.append("x"), "[io] /dev/full: cannot write: No space left on device");
}

TEST_CASE("reading what is not there is an error", "[file_output]") {
  CHECK_THROWS_AS(read_file("/nowhere/f"), IoError);
}

}  // namespace switchyard
