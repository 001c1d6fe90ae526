#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// The safetensors format: 8 bytes little-endian header size | header, UTF-8 JSON | tensor data.
// github.com/huggingface/safetensors, README "Format".

/// What is read at most. The first is the format's own limit.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxTensorDims = 8;

/// One tensor of a file.
struct TensorEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  ///< of the first byte, from the end of the header
  uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  ///< by offset; together they cover the data without a hole
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  ///< place in the file of the first byte of tensor data
  uint64_t data_bytes = 0;

  /// nullptr where the file has no such tensor. Linear in the number of tensors.
  const TensorEntry* find(std::string_view name) const;
};

/// Bytes of a packed tensor; throws CheckpointError "<where>: <problem>" where that overflows.
uint64_t tensor_bytes(at::ScalarType dtype, const std::vector<int64_t>& shape,
                      const std::string& where);

/// Reads the JSON of a header whose file holds `data_bytes` bytes after it. Everything is checked:
/// JSON form, names, dtypes, shapes, sizes, and that the tensors cover the data exactly. Throws
/// CheckpointError naming `file` and the tensor.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes,
                                           const std::string& file);

/// Sorts `tensors` into the canonical order (dtype by falling rank, then name), fills in `offset`
/// and `bytes`, and returns the head of the file: size, JSON, padded with spaces to a multiple
/// of 8. The same tensors give the same bytes. Names must be unique UTF-8 (CheckpointError).
std::string make_safetensors_head(std::vector<TensorEntry>& tensors,
                                  const std::map<std::string, std::string>& metadata,
                                  const std::string& file);

}  // namespace switchyard
