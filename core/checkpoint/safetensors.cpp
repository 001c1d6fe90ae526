#include "core/checkpoint/safetensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <unordered_map>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"

namespace switchyard {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

SafetensorsHeader read_header(const OpenFile& file) {
  const std::string& path = file.handle().path;
  const uint64_t size = file.files().size(file.handle());
  uint64_t header_bytes = 0;
  if (size < sizeof header_bytes)
    throw CheckpointError(
        fmt::format("{}: {} bytes, too short for a safetensors file", path, size));
  read_exactly(file, &header_bytes, sizeof header_bytes, 0);
  if (header_bytes > kMaxHeaderBytes)
    throw CheckpointError(fmt::format("{}: a header of {} bytes, at most {} are allowed", path,
                                      header_bytes, kMaxHeaderBytes));
  if (header_bytes > size - sizeof header_bytes)
    throw CheckpointError(fmt::format("{}: a header of {} bytes does not fit into its {} bytes",
                                      path, header_bytes, size));
  std::string json(header_bytes, '\0');
  read_exactly(file, json.data(), json.size(), sizeof header_bytes);
  return parse_safetensors_header(json, size - sizeof header_bytes - header_bytes, path);
}

/// Reads a range of a file in pieces and hands each to `use`.
template <class Use>
void stream(const OpenFile& file, uint64_t offset, uint64_t bytes, std::string& buffer,
            const Use& use) {
  while (bytes > 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(bytes, buffer.size()));
    read_exactly(file, buffer.data(), piece, offset);
    use(buffer.data(), piece);
    offset += piece;
    bytes -= piece;
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(FileOps& files, const std::string& path)
    : file_(files, files.open(path)), header_(read_header(file_)) {}

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const TensorEntry* entry = header_.find(name);
  if (entry == nullptr)
    throw CheckpointError(fmt::format("{}: has no tensor {}", path(), shown_name(name)));
  at::Tensor tensor = at::empty(entry->shape, entry->dtype);
  read_into(*entry, tensor);
  return tensor;
}

std::string SafetensorsFile::read_into(const TensorEntry& entry, at::Tensor target) const {
  at::NoGradGuard no_grad;
  if (target.scalar_type() != entry.dtype || target.sizes() != entry.shape)
    throw CheckpointError(fmt::format("{}: {} is {} in the file, {} is expected", path(),
                                      shown_name(entry.name),
                                      describe_tensor(entry.dtype, entry.shape),
                                      describe_tensor(target.scalar_type(), target.sizes().vec())));
  const bool direct = target.is_cpu() && target.is_contiguous();
  at::Tensor packed = direct ? target : at::empty(entry.shape, entry.dtype);
  read_exactly(file_, packed.mutable_data_ptr(), entry.bytes, header_.data_begin + entry.offset);
  if (!direct) target.copy_(packed);
  return hash_hex(bytes_of(packed));
}

HashedFile SafetensorsFile::hash() const {
  HashedFile result;
  result.bytes = header_.data_begin + header_.data_bytes;
  StreamingHash whole;
  std::string buffer(kChunkBytes, '\0');
  stream(file_, 0, header_.data_begin, buffer,
         [&](const char* data, size_t n) { whole.add(data, n); });
  for (const auto& entry : header_.tensors) {
    StreamingHash part;
    stream(file_, header_.data_begin + entry.offset, entry.bytes, buffer,
           [&](const char* data, size_t n) {
             whole.add(data, n);
             part.add(data, n);
           });
    result.tensors.push_back({entry, part.hex()});
  }
  result.hash = whole.hex();
  return result;
}

HashedFile write_safetensors(FileOps& files, const std::string& path, const StateList& tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::vector<TensorEntry> entries;
  std::unordered_map<std::string, at::Tensor> by_name;
  for (const auto& item : tensors) {
    entries.push_back({item.name, item.tensor.scalar_type(), item.tensor.sizes().vec()});
    by_name[item.name] = item.tensor;
  }
  const std::string head = make_safetensors_head(entries, metadata, path);

  HashedFile result;
  result.bytes = head.size() + (entries.empty() ? 0 : entries.back().offset + entries.back().bytes);
  StreamingHash whole;
  const OpenFile file(files, files.create(path));
  files.reserve(file.handle(), result.bytes);
  whole.add(head.data(), head.size());
  write_all(file, head);
  for (const auto& entry : entries) {
    const at::Tensor packed = packed_on_host(by_name.at(entry.name));
    const std::string_view bytes = bytes_of(packed);
    whole.add(bytes.data(), bytes.size());
    result.tensors.push_back({entry, hash_hex(bytes)});
    write_all(file, bytes);
  }
  files.sync(file.handle());
  result.hash = whole.hex();
  return result;
}

void replace_safetensors(FileOps& files, const std::string& path, const StateList& tensors,
                         const std::map<std::string, std::string>& metadata) {
  const std::string partial = path + ".partial";
  const auto remove_partial = [&] {
    if (files.kind(partial) == FileOps::Kind::kFile) files.remove_file(partial);
  };
  remove_partial();
  try {
    write_safetensors(files, partial, tensors, metadata);
    files.rename(partial, path);
  } catch (...) {
    try {
      remove_partial();
    } catch (const IoError&) {  // the first error is the one to report
    }
    throw;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  files.sync_folder(folder.empty() ? "." : folder);
}

}  // namespace switchyard
