#include "core/metrics/tensorboard_event.h"

#include <catch2/catch.hpp>

namespace switchyard {
namespace {

std::string hex(const std::string& bytes) {
  std::string digits;
  for (const unsigned char c : bytes) {
    for (const int nibble : {c >> 4, c & 15}) digits += "0123456789abcdef"[nibble];
  }
  return digits;
}

}  // namespace

TEST_CASE("CRC-32C has its published check value", "[tensorboard]") {
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(masked_crc32c("123456789") == 0xC78AB0E5u);
  CHECK(crc32c("") == 0);
}

TEST_CASE("records equal those that TensorBoard writes", "[tensorboard]") {
  CHECK(hex(event_record(version_event(1700000000.0))) ==
        "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d");
  CHECK(hex(event_record(scalar_event(1700000001.0, 300, {{"train/loss", 2.5f}}))) ==
        "2100000000000000017becf60900004040fc54d94110ac022a130a110a0a747261696e2f6c6f73731500002040"
        "f66fe46b");
}

TEST_CASE("records are read back with their steps", "[tensorboard]") {
  const std::string version = event_record(version_event(1.0));
  const std::string first = event_record(scalar_event(2.0, 5, {{"a", 1}, {"b", 2}}));
  const std::string second = event_record(scalar_event(3.0, 1000000, {{"a", 1}}));
  const std::string file = version + first + second;
  const auto steps = [](const std::string& content) {
    std::vector<int64_t> found;
    for (const auto& record : read_records(content)) found.push_back(record.step);
    return found;
  };
  CHECK(steps(file) == std::vector<int64_t>{0, 5, 1000000});
  CHECK(read_records(file)[1].bytes == first);

  SECTION("a torn tail ends the reading at every byte") {
    for (size_t size = version.size(); size < version.size() + first.size(); ++size) {
      CHECK(steps(file.substr(0, size)) == std::vector<int64_t>{0});
    }
    CHECK(steps("").empty());
  }
  SECTION("a damaged record ends the reading") {
    std::string damaged = file;
    damaged[version.size() + 20] ^= 1;
    CHECK(steps(damaged) == std::vector<int64_t>{0});
    damaged = file;
    damaged[version.size()] ^= 0x40;  // the length
    CHECK(steps(damaged) == std::vector<int64_t>{0});
  }
}

}  // namespace switchyard
