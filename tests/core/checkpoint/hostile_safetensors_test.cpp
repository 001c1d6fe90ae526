#include <catch2/catch.hpp>
#include <iostream>
#include <random>

#include "core/base/error.h"
#include "core/checkpoint/safetensors.h"
#include "tests/support/hostile_safetensors.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using namespace switchyard::test;

namespace {

/// "" for a file that is read without complaint; every tensor is read.
std::string problem(const TempFolder& temp, const std::string& bytes) {
  SystemFileOps files;
  try {
    const SafetensorsFile file(files, temp.write("f.safetensors", bytes));
    for (const auto& tensor : file.header().tensors) file.read(tensor.name);
    file.hash();
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("The pattern that the attacks are built from is a good file") {
  const TempFolder temp;
  CHECK(problem(temp, file_of(tensor_a("\"U8\"", "[4]", "[0,4]"), 4)) == "");
  CHECK(problem(temp, file_of(tensor_a("\"F32\"", "[1]", "[0,4]") + "   ", 4)) == "");
  CHECK(problem(temp, file_of(tensor_a("\"F32\"", "[0,4]", "[0,0]"), 0)) == "");
  CHECK(problem(temp, file_of("{}", 0)) == "");
  CHECK(problem(temp, file_of("{\"b\":" + entry("\"U8\"", "[4]", "[4,8]") +
                                  ",\"z\":" + entry("\"F32\"", "[0]", "[4,4]") +
                                  ",\"a\":" + entry("\"U8\"", "[4]", "[0,4]") + "}",
                              8)) == "");
}

TEST_CASE("Hostile headers are refused with the file's name") {
  const TempFolder temp;
  const std::vector<Attack> attacks = hostile_safetensors();
  CHECK(attacks.size() >= 200);
  for (const auto& attack : attacks) {
    CAPTURE(attack.file.substr(0, 300));
    const std::string text = problem(temp, attack.file);
    CHECK_THAT(text, Contains("f.safetensors") && Contains(attack.expected));
    CHECK(is_one_line(text));
    CHECK(text.size() < 2000);
  }
  std::cout << "hostile safetensors files: " << attacks.size() << ", all refused\n";
}

TEST_CASE("Reading a header stops where a list or an object is longer than any valid one") {
  const TempFolder temp;
  std::string zeros(2 * 65, '0'), keys;
  for (size_t i = 1; i < zeros.size(); i += 2) zeros[i] = ',';
  for (int i = 0; i < 100'001; ++i) keys += fmt::format("\"{}\":0,", i);
  // What follows is no JSON: whoever reads on says so.
  CHECK_THAT(problem(temp, file_of("{\"a\":[" + zeros + "!", 0)), Contains("more than 64 entries"));
  CHECK_THAT(problem(temp, file_of("{\"a\":{" + keys + "!", 0)), Contains("100000 keys"));
}

TEST_CASE("A header is not kept while it is read: many tensors with one that is wrong") {
  const TempFolder temp;
  std::string header = "{";
  for (int i = 0; i < 1000; ++i)
    header += fmt::format("\"t{}\":{},", i, entry("\"U8\"", "[0]", "[0,0]"));
  CHECK(problem(temp, file_of(header + "\"z\":" + entry("\"U8\"", "[0]", "[0,0]") + "}", 0)) == "");
  // The wrong one is found where it stands, before the rest is looked at.
  CHECK_THAT(problem(temp, file_of(header + "\"z\":[],!", 0)), Contains("tensor \"z\""));
}

TEST_CASE("Every truncation of a file is refused") {
  const TempFolder temp;
  const std::string whole = file_of(tensor_a("\"F32\"", "[16]", "[0,64]"), 64);
  REQUIRE(problem(temp, whole) == "");
  for (size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(problem(temp, whole.substr(0, n)) != "");
  }
}

TEST_CASE("Random damage to a header is refused or harmless, never worse") {
  const TempFolder temp;
  const std::string whole =
      file_of("{\"__metadata__\":{\"format\":\"pt\"},\"a\":" + entry("\"F32\"", "[2,3]", "[0,24]") +
                  ",\"b\":" + entry("\"I64\"", "[1]", "[24,32]") + "}",
              32);
  std::mt19937_64 random(7);
  size_t refused = 0;
  constexpr size_t kTrials = 3000;
  for (size_t i = 0; i < kTrials; ++i) {
    std::string damaged = whole;
    const size_t flips = 1 + random() % 4;
    for (size_t f = 0; f < flips; ++f)
      damaged[random() % (whole.size() - 32)] ^= static_cast<char>(1 << random() % 8);
    refused += problem(temp, damaged) != "";
  }
  std::cout << "damaged safetensors headers: " << refused << " of " << kTrials
            << " refused by the format's own rules\n";
  CHECK(refused > kTrials * 8 / 10);
}
