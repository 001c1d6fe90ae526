#include "core/data/token_file.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"
#include "tests/support/token_bytes.h"

namespace switchyard {

using test::raw_tokens;

TEST_CASE("token files of every format give back their tokens", "[token_file]") {
  const test::TempFolder folder;
  const std::vector<int64_t> tokens = {5, 0, 200, 17, 255};
  const auto read = [&](const std::string& content, TokenFormat format) {
    const TokenFile file(folder.write("f", content), format);
    std::vector<int64_t> out(file.size());
    file.copy(0, file.size(), out.data());
    return out;
  };
  SECTION("bytes") {
    CHECK(read(raw_tokens<uint8_t>(tokens), TokenFormat::kBytes) == tokens);
    CHECK(read("A\xff", TokenFormat::kBytes) == std::vector<int64_t>{65, 255});
  }
  SECTION("16 bits, low byte first") {
    CHECK(read(raw_tokens<uint16_t>(tokens), TokenFormat::kRaw16) == tokens);
    CHECK(read(std::string("\x01\x02\xff\xff", 4), TokenFormat::kRaw16) ==
          std::vector<int64_t>{0x201, 0xffff});
  }
  SECTION("32 bits") {
    CHECK(read(raw_tokens<uint32_t>({1, 1 << 20, 4294967295}), TokenFormat::kRaw32) ==
          std::vector<int64_t>{1, 1 << 20, 4294967295});
  }
  SECTION("llm.c's header, 16 and 32 bits") {
    CHECK(read(test::llmc_header(20240520, 1, 5) + raw_tokens<uint16_t>(tokens),
               TokenFormat::kLlmc) == tokens);
    CHECK(read(test::llmc_header(20240801, 7, 5) + raw_tokens<uint32_t>(tokens),
               TokenFormat::kLlmc) == tokens);
  }
}

TEST_CASE("a part of a token file is read from anywhere", "[token_file]") {
  const test::TempFolder folder;
  const TokenFile file(folder.write("f", raw_tokens<uint16_t>({1, 2, 3, 4, 5})),
                       TokenFormat::kRaw16);
  std::vector<int64_t> out(2);
  file.copy(3, 2, out.data());
  CHECK(out == std::vector<int64_t>{4, 5});
  CHECK(file.at(2) == 3);
  CHECK(file.max_token() == 5);
  CHECK_THROWS_AS(file.copy(4, 2, out.data()), InternalError);
}

TEST_CASE("damaged token files are refused by name", "[token_file]") {
  const test::TempFolder folder;
  const auto refused = [&](const std::string& content, TokenFormat format, const std::string& why) {
    const auto path = folder.write("bad.bin", content);
    CHECK_THROWS_WITH(TokenFile(path, format),
                      Catch::Contains("[data]") && Catch::Contains(path) && Catch::Contains(why));
  };
  SECTION("missing") {
    CHECK_THROWS_WITH(TokenFile(folder.path("none"), TokenFormat::kBytes),
                      Catch::Contains("No such file"));
  }
  SECTION("a folder") {
    CHECK_THROWS_WITH(TokenFile(folder.path(), TokenFormat::kBytes),
                      Catch::Contains("not a regular file"));
  }
  SECTION("empty") {
    refused("", TokenFormat::kBytes, "empty");
  }
  SECTION("an odd size") {
    refused("abc", TokenFormat::kRaw16, "3 bytes are not a whole number of 2-byte tokens");
    refused("abcdef", TokenFormat::kRaw32, "6 bytes are not a whole number of 4-byte tokens");
  }
  SECTION("a header cut short") {
    refused("abcd", TokenFormat::kLlmc, "less than llm.c's header");
  }
  SECTION("another magic number") {
    refused(test::llmc_header(20240522, 1, 1) + "ab", TokenFormat::kLlmc, "magic number 20240522");
  }
  SECTION("another version") {
    refused(test::llmc_header(20240520, 2, 1) + "ab", TokenFormat::kLlmc, "version 2");
  }
  SECTION("a negative count") {
    refused(test::llmc_header(20240520, 1, -1) + "ab", TokenFormat::kLlmc, "announces -1 tokens");
  }
  SECTION("fewer or more tokens than announced") {
    refused(test::llmc_header(20240520, 1, 3) + "abcd", TokenFormat::kLlmc, "truncated");
    refused(test::llmc_header(20240520, 1, 1) + "abcd", TokenFormat::kLlmc, "too long");
  }
}

TEST_CASE("llm.c files are known by their magic number", "[token_file]") {
  const test::TempFolder folder;
  CHECK(TokenFile::has_llmc_header(folder.write("a", test::llmc_header(20240520, 1, 0))));
  CHECK(TokenFile::has_llmc_header(folder.write("b", test::llmc_header(20240801, 1, 0))));
  CHECK_FALSE(TokenFile::has_llmc_header(folder.write("c", raw_tokens<uint16_t>({1, 2, 3}))));
  CHECK_FALSE(TokenFile::has_llmc_header(folder.write("d", "x")));
}

TEST_CASE("a token outside the vocabulary is named with its place", "[token_file]") {
  const test::TempFolder folder;
  const TokenFile file(folder.write("f", raw_tokens<uint16_t>({9, 3, 10, 2, 11})),
                       TokenFormat::kRaw16);
  CHECK_NOTHROW(file.check_vocabulary(12));
  CHECK_THROWS_WITH(file.check_vocabulary(10),
                    Catch::Contains("token 10 at position 2") && Catch::Contains("10 tokens"));
}

TEST_CASE("the content hash tells contents apart and ignores the name", "[token_file]") {
  const test::TempFolder folder;
  const auto hash = [&](const std::string& name, const std::string& content) {
    return TokenFile(folder.write(name, content), TokenFormat::kBytes).content_hash();
  };
  CHECK(hash("a", "abc") == hash("b", "abc"));
  CHECK(hash("a", "abc") != hash("a", "abd"));
  CHECK(hash("a", "abc") == "06b05ab6733a618578af5f94892f3950");  // XXH3-128 of "abc"
}

}  // namespace switchyard
