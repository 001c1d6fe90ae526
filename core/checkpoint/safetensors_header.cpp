#include "core/checkpoint/safetensors_header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "core/base/error.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"

namespace switchyard {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

constexpr uint64_t kMaxNumber = uint64_t{1} << 53;  // JSON numbers are exact up to here
constexpr const char* kMetadataKey = "__metadata__";
// Nothing valid comes near: a shape has at most kMaxTensorDims entries, metadata a few hundred
// keys.
constexpr size_t kMaxListEntries = 64;
constexpr size_t kMaxKeys = 100'000;

[[noreturn]] void fail(const std::string& file, const std::string& problem) {
  throw CheckpointError(fmt::format("{}: {}", file, problem));
}

/// A tensor of a file, for a message: made into text only when there is one.
struct Place {
  const std::string& file;
  const std::string& name;
  [[noreturn]] void fail(const std::string& problem) const {
    switchyard::fail(file, fmt::format("tensor {}: {}", shown_name(name), problem));
  }
};

uint64_t read_number(const json& value, const char* what, const Place& place) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxNumber)
    place.fail(
        fmt::format("{} holds {}, allowed are integers from 0 to 2^53", what, shown_json(value)));
  return value.get<uint64_t>();
}

std::map<std::string, std::string> read_metadata(const json& value, const std::string& file) {
  if (!value.is_object()) fail(file, "__metadata__ is not an object of strings");
  std::map<std::string, std::string> result;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      fail(file, "__metadata__ holds a value that is not a string: " + shown_name(key));
    result[key] = text.get<std::string>();
  }
  return result;
}

at::ScalarType read_dtype(const json& value, const Place& place) {
  if (!value.is_string()) place.fail("dtype is not a string");
  const auto& name = value.get_ref<const std::string&>();
  const auto dtype = dtype_from_name(name);
  if (!dtype)
    place.fail(
        fmt::format("dtype {} is unknown or cannot be held, known are BOOL, U8 to U64, I8 to I64, "
                    "F8_*, F16, BF16, F32, F64, C64",
                    shown_name(name)));
  return *dtype;
}

std::vector<int64_t> read_shape(const json& value, const Place& place) {
  if (!value.is_array()) place.fail("shape is not a list");
  if (value.size() > kMaxTensorDims)
    place.fail(fmt::format("{} dimensions, at most {} are read", value.size(), kMaxTensorDims));
  std::vector<int64_t> shape;
  for (const auto& extent : value)
    shape.push_back(static_cast<int64_t>(read_number(extent, "shape", place)));
  return shape;
}

/// Bytes of a packed tensor; nullopt where they, or a stride, do not fit into 64 bits.
std::optional<uint64_t> packed_bytes(at::ScalarType dtype, const std::vector<int64_t>& shape) {
  uint64_t bytes = c10::elementSize(dtype);
  // Strides are products that count an empty dimension as 1: they must fit as well.
  uint64_t largest_stride = bytes;
  for (const int64_t extent : shape) {
    const auto count = static_cast<uint64_t>(extent);
    if (extent < 0 || __builtin_mul_overflow(bytes, count, &bytes) ||
        __builtin_mul_overflow(largest_stride, std::max<uint64_t>(count, 1), &largest_stride) ||
        largest_stride > static_cast<uint64_t>(INT64_MAX))
      return std::nullopt;
  }
  return bytes;
}

std::string too_large(const std::vector<int64_t>& shape) {
  return fmt::format("shape [{}] is too large", fmt::join(shape, ", "));
}

TensorEntry read_entry(const std::string& name, const json& value, const std::string& file) {
  const Place place{file, name};
  if (name.size() > kMaxNameBytes)
    place.fail(
        fmt::format("its name has {} bytes, at most {} are read", name.size(), kMaxNameBytes));
  if (!value.is_object()) place.fail("not an object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) place.fail(fmt::format("lacks {}", key));
  }
  if (value.size() != 3) place.fail("has other keys than dtype, shape and data_offsets");

  TensorEntry entry{name, read_dtype(value["dtype"], place), read_shape(value["shape"], place)};
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    place.fail("data_offsets is not a list of two numbers");
  entry.offset = read_number(offsets[0], "data_offsets", place);
  const uint64_t end = read_number(offsets[1], "data_offsets", place);
  if (end < entry.offset)
    place.fail(fmt::format("data_offsets end at {} before they begin at {}", end, entry.offset));
  entry.bytes = end - entry.offset;
  const auto needed = packed_bytes(entry.dtype, entry.shape);
  if (!needed) place.fail(too_large(entry.shape));
  if (entry.bytes != *needed)
    place.fail(fmt::format("{} takes {} bytes, data_offsets give it {}",
                           describe_tensor(entry.dtype, entry.shape), *needed, entry.bytes));
  return entry;
}

/// No hole, no overlap, nothing beyond the data: the tensors follow each other from 0 to its end.
void check_coverage(const std::vector<TensorEntry>& tensors, uint64_t data_bytes,
                    const std::string& file) {
  uint64_t covered = 0;
  for (const auto& entry : tensors) {
    if (entry.offset != covered)
      fail(file, fmt::format("tensor {} begins at byte {} of the data, {} before it end at {}",
                             shown_name(entry.name), entry.offset,
                             entry.offset < covered ? "tensors that overlap it" : "the tensors",
                             covered));
    covered += entry.bytes;  // at most 2^53: offset and end are checked
  }
  if (covered != data_bytes)
    fail(file, fmt::format("the tensors take {} bytes, the file holds {} after its header", covered,
                           data_bytes));
}

}  // namespace

const TensorEntry* SafetensorsHeader::find(std::string_view name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorEntry& entry) { return entry.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

uint64_t tensor_bytes(at::ScalarType dtype, const std::vector<int64_t>& shape,
                      const std::string& where) {
  const auto bytes = packed_bytes(dtype, shape);
  if (!bytes) fail(where, too_large(shape));
  return *bytes;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes,
                                           const std::string& file) {
  if (text.empty() || text.front() != '{') fail(file, "the header does not begin with {");
  SafetensorsHeader header;
  header.data_begin = 8 + text.size();
  header.data_bytes = data_bytes;
  const JsonLimits limits(3, kMaxListEntries, kMaxKeys);
  read_strict_members(text, file, limits, [&](const std::string& name, const json& value) {
    if (name == kMetadataKey) {
      header.metadata = read_metadata(value, file);
      return;
    }
    if (header.tensors.size() == kMaxTensors)
      fail(file, fmt::format("more than {} tensors", kMaxTensors));
    header.tensors.push_back(read_entry(name, value, file));
  });
  const auto place = [](const TensorEntry& entry) {
    return std::tuple(entry.offset, entry.bytes, std::string_view(entry.name));
  };
  std::sort(header.tensors.begin(), header.tensors.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  check_coverage(header.tensors, data_bytes, file);
  return header;
}

std::string make_safetensors_head(std::vector<TensorEntry>& tensors,
                                  const std::map<std::string, std::string>& metadata,
                                  const std::string& file) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tuple(-dtype_rank(a.dtype), std::string_view(a.name)) <
           std::tuple(-dtype_rank(b.dtype), std::string_view(b.name));
  });
  if (tensors.size() > kMaxTensors)
    fail(file, fmt::format("{} tensors, at most {} fit", tensors.size(), kMaxTensors));

  std::string text = "{";
  if (!metadata.empty()) text += fmt::format("\"{}\":{}", kMetadataKey, json(metadata).dump());
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (auto& entry : tensors) {
    const std::string where = file + ": tensor " + shown_name(entry.name);
    if (entry.name == kMetadataKey || entry.name.size() > kMaxNameBytes ||
        dtype_rank(entry.dtype) < 0 || entry.shape.size() > kMaxTensorDims)
      throw CheckpointError(fmt::format("{}: a {} under this name cannot be stored", where,
                                        describe_tensor(entry.dtype, entry.shape)));
    if (!names.insert(entry.name).second) throw CheckpointError(where + ": listed twice");
    std::string name;
    try {
      name = json(entry.name).dump();
    } catch (const json::exception&) {
      throw CheckpointError(where + ": its name is not valid UTF-8");
    }
    entry.offset = offset;
    entry.bytes = tensor_bytes(entry.dtype, entry.shape, where);
    if (__builtin_add_overflow(offset, entry.bytes, &offset) || offset > kMaxNumber)
      throw CheckpointError(where + ": the file would be larger than 2^53 bytes");
    text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        text.size() > 1 ? "," : "", name, *dtype_name(entry.dtype),
                        fmt::join(entry.shape, ","), entry.offset, offset);
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxHeaderBytes)
    fail(file, fmt::format("its header would take {} bytes, at most {} are allowed", text.size(),
                           kMaxHeaderBytes));
  const uint64_t size = text.size();
  std::string head(sizeof size, '\0');
  std::memcpy(head.data(), &size, sizeof size);
  return head + text;
}

}  // namespace switchyard
