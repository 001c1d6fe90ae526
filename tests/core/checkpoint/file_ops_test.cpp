#include "core/checkpoint/file_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <future>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using Kind = FileOps::Kind;

TEST_CASE("Files are written whole and read back by range") {
  const test::TempFolder temp;
  SystemFileOps files;
  write_file(files, temp.path("a"), "hello world");
  CHECK(read_file(files, temp.path("a"), 11) == "hello world");
  CHECK(temp.read("a") == "hello world");

  const OpenFile file(files, files.open(temp.path("a")));
  CHECK(files.size(file.handle()) == 11);
  std::string part(5, ' ');
  read_exactly(file, part.data(), 5, 6);
  CHECK(part == "world");
  CHECK_THROWS_WITH(read_exactly(file, part.data(), 5, 7), Contains("ends at byte 11"));
  CHECK_THROWS_WITH(read_file(files, temp.path("a"), 10), Contains("at most 10"));
}

TEST_CASE("Reserved space does not change what is written") {
  const test::TempFolder temp;
  SystemFileOps files;
  {
    const OpenFile file(files, files.create(temp.path("a")));
    files.reserve(file.handle(), 3);
    write_all(file, "abc");
    files.sync(file.handle());
  }
  CHECK(temp.read("a") == "abc");
}

TEST_CASE("Failures name the path and the system's reason") {
  const test::TempFolder temp;
  SystemFileOps files;
  CHECK_THROWS_WITH(files.open(temp.path("none")),
                    Contains(temp.path("none")) && Contains("No such file"));
  temp.write("a", "x");
  CHECK_THROWS_WITH(files.create(temp.path("a")), Contains("File exists"));
  CHECK_THROWS_AS(files.make_folder(temp.path("a")), IoError);
  CHECK_THROWS_AS(files.make_folder(temp.path("x/y")), IoError);
  CHECK_THROWS_AS(files.list(temp.path("none")), IoError);
  CHECK_THROWS_AS(files.rename(temp.path("none"), temp.path("b")), IoError);
  CHECK_THROWS_AS(files.remove_file(temp.path("none")), IoError);
  CHECK_THROWS_AS(files.sync_folder(temp.path("none")), IoError);
  CHECK_THROWS_WITH(read_file(files, temp.path(), 10), Contains("not a regular file"));
}

TEST_CASE("A named pipe is refused without waiting for its writer") {
  const test::TempFolder temp;
  SystemFileOps files;
  const std::string pipe = temp.path("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  auto reading = std::async(std::launch::async, [&] {
    CHECK_THROWS_WITH(read_file(files, pipe, 10), Contains("pipe: not a regular file"));
  });
  const bool waited = reading.wait_for(std::chrono::seconds(10)) == std::future_status::timeout;
  if (waited) ::close(::open(pipe.c_str(), O_RDWR | O_NONBLOCK));  // lets it go on
  reading.get();
  CHECK_FALSE(waited);
}

TEST_CASE("A write to a full disk names the space needed") {
  SystemFileOps files;
  const OpenFile full(files, {files.open("/dev/null").id, "/dev/null"});
  CHECK_THROWS_WITH(write_all(full, "abc"),
                    Contains("cannot write /dev/null") && Contains("3 bytes needed"));
}

TEST_CASE("The kind of a path is that of the link, not of its target") {
  const test::TempFolder temp;
  SystemFileOps files;
  temp.write("folder/a", "x");
  REQUIRE(symlink(temp.path("folder").c_str(), temp.path("link").c_str()) == 0);
  REQUIRE(mkfifo(temp.path("pipe").c_str(), 0600) == 0);
  CHECK(files.kind(temp.path("folder")) == Kind::kFolder);
  CHECK(files.kind(temp.path("folder/a")) == Kind::kFile);
  CHECK(files.kind(temp.path("folder/a/b")) == Kind::kMissing);
  CHECK(files.kind(temp.path("link")) == Kind::kLink);
  CHECK(files.kind(temp.path("pipe")) == Kind::kOther);
  CHECK(files.kind(temp.path("none")) == Kind::kMissing);
  CHECK(files.list(temp.path()) == std::vector<std::string>{"folder", "link", "pipe"});
}

TEST_CASE("Folders are made with their parents, once") {
  const test::TempFolder temp;
  SystemFileOps files;
  make_folders(files, temp.path("a/b/c"));
  make_folders(files, temp.path("a/b/c/"));
  CHECK(files.kind(temp.path("a/b/c")) == Kind::kFolder);
  temp.write("f", "x");
  CHECK_THROWS_AS(make_folders(files, temp.path("f/g")), IoError);
}

TEST_CASE("Removing a tree leaves what its links point to") {
  const test::TempFolder temp;
  SystemFileOps files;
  temp.write("kept/a", "x");
  temp.write("tree/b/c", "x");
  REQUIRE(symlink(temp.path("kept").c_str(), temp.path("tree/link").c_str()) == 0);
  REQUIRE(symlink(temp.path("kept").c_str(), temp.path("outer").c_str()) == 0);
  remove_tree(files, temp.path("tree"));
  CHECK(files.kind(temp.path("tree")) == Kind::kMissing);
  CHECK(temp.read("kept/a") == "x");

  CHECK_THROWS_WITH(remove_tree(files, temp.path("outer")), Contains("links are refused"));
  CHECK(temp.read("kept/a") == "x");
}
