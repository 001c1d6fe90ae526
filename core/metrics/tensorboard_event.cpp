#include "core/metrics/tensorboard_event.h"

#include <array>
#include <cstring>
#include <optional>

namespace switchyard {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[byte] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

template <class Number>
std::string raw(Number value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

template <class Number>
Number number_at(std::string_view bytes, size_t offset) {
  Number value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

// Protocol buffers: a key is field number · 8 + wire type.
constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

std::string varint(uint64_t value) {
  std::string bytes;
  while (value >= 0x80) {
    bytes += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  return bytes += static_cast<char>(value);
}

std::string key(int field, int wire) {
  return varint(static_cast<uint64_t>(field * 8 + wire));
}

std::string bytes_field(int field, const std::string& bytes) {
  return key(field, kBytes) + varint(bytes.size()) + bytes;
}

std::optional<uint64_t> read_varint(std::string_view bytes, size_t& offset) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && offset < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[offset++]);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

/// The step stands before the long fields, right after the wall time.
int64_t step_of(std::string_view event) {
  size_t offset = 0;
  while (const auto tag = read_varint(event, offset)) {
    if (*tag == 2 * 8 + kVarint)
      return static_cast<int64_t>(read_varint(event, offset).value_or(0));
    if (*tag % 8 != kFixed64) return 0;
    offset += 8;
  }
  return 0;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes)
    crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

std::string event_record(std::string_view data) {
  const std::string length = raw(static_cast<uint64_t>(data.size()));
  return length + raw(masked_crc32c(length)) + std::string(data) + raw(masked_crc32c(data));
}

std::string version_event(double wall_time) {
  return key(1, kFixed64) + raw(wall_time) + bytes_field(3, "brain.Event:2");
}

std::string scalar_event(double wall_time, int64_t step,
                         const std::vector<std::pair<std::string, float>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    summary += bytes_field(1, bytes_field(1, tag) + key(2, kFixed32) + raw(value));
  }
  return key(1, kFixed64) + raw(wall_time) + key(2, kVarint) + varint(static_cast<uint64_t>(step)) +
         bytes_field(5, summary);
}

std::vector<EventRecord> read_records(std::string_view file) {
  constexpr size_t kHeader = 12, kFooter = 4;
  std::vector<EventRecord> records;
  size_t offset = 0;
  while (file.size() - offset >= kHeader + kFooter) {
    const auto length = number_at<uint64_t>(file, offset);
    if (length > file.size() - offset - kHeader - kFooter) break;
    const auto data = file.substr(offset + kHeader, length);
    if (number_at<uint32_t>(file, offset + 8) != masked_crc32c(file.substr(offset, 8)) ||
        number_at<uint32_t>(file, offset + kHeader + length) != masked_crc32c(data)) {
      break;
    }
    const size_t size = kHeader + length + kFooter;
    records.push_back({file.substr(offset, size), step_of(data)});
    offset += size;
  }
  return records;
}

}  // namespace switchyard
