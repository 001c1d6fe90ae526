#include "trainers/import/hf_folder.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/as_bad_input.h"
#include "core/base/error.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"

namespace switchyard {
namespace {

using nlohmann::json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 64 << 20;
constexpr size_t kMaxListEntries = 64;

bool is_there(FileOps& files, const std::string& path) {
  return files.kind(path) != FileOps::Kind::kMissing;
}

/// The name of a file in the folder itself, nothing that leads elsewhere or spoils a message.
bool is_plain_name(const std::string& name) {
  const auto plain = [](char c) { return c > ' ' && c <= '~' && c != '/'; };
  return name.ends_with(".safetensors") && name[0] != '.' && name.size() <= 255 &&
         std::all_of(name.begin(), name.end(), plain);
}

/// Tensor → file.
std::map<std::string, std::string> read_index(FileOps& files, const std::string& path) {
  const JsonLimits limits(16, kMaxListEntries, kMaxTensors);
  const json index = parse_strict_json(read_file(files, path, kMaxIndexBytes), path, limits);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw CheckpointError(path + ": holds no weight_map");
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string() || !is_plain_name(file.get<std::string>()))
      throw CheckpointError(fmt::format(
          "{}: weight_map gives {} the file {}; allowed: the name of a .safetensors file", path,
          shown_name(tensor), shown_json(file)));
    result[tensor] = file.get<std::string>();
  }
  if (result.empty()) throw CheckpointError(path + ": its weight_map is empty");
  return result;
}

}  // namespace

HfFolder::HfFolder(FileOps& files, const std::string& folder) : folder_(folder) {
  as_bad_input<CheckpointError>([&] {
    if (is_there(files, folder + "/" + kSingle))
      open(files, kSingle);
    else
      open_shards(files);
  });
}

void HfFolder::open_shards(FileOps& files) {
  if (!is_there(files, folder_ + "/" + kIndex))
    throw CheckpointError(fmt::format("{}: holds neither {} nor {}", folder_, kSingle, kIndex));
  const auto index = read_index(files, folder_ + "/" + kIndex);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index) shards.insert(shard);
  for (const auto& shard : shards) {
    if (!is_there(files, folder_ + "/" + shard))
      throw CheckpointError(fmt::format("{}/{}: missing, {} lists it", folder_, shard, kIndex));
    open(files, shard);
  }
  check_index(index);
}

void HfFolder::open(FileOps& files, const std::string& name) {
  files_.push_back(std::make_unique<SafetensorsFile>(files, folder_ + "/" + name));
  const SafetensorsFile& file = *files_.back();
  const auto format = file.header().metadata.find("format");
  if (format != file.header().metadata.end() && format->second != "pt")
    throw CheckpointError(
        fmt::format("{}: is of format {}; allowed: pt", file.path(), shown_name(format->second)));
  for (const TensorEntry& entry : file.header().tensors) {
    if (!names_.insert(entry.name).second)
      throw CheckpointError(fmt::format("{}: holds {}, and so does {}", file.path(),
                                        shown_name(entry.name),
                                        places_.at(entry.name).file->path()));
    places_[entry.name] = {&file, &entry};
  }
}

void HfFolder::check_index(const std::map<std::string, std::string>& index) const {
  for (const auto& [tensor, shard] : index) {
    const auto place = places_.find(tensor);
    if (place == places_.end() || place->second.file->path() != folder_ + "/" + shard)
      throw CheckpointError(fmt::format("{}/{}: has no tensor {}, which {} lists", folder_, shard,
                                        shown_name(tensor), kIndex));
  }
  for (const auto& [tensor, place] : places_)
    if (!index.contains(tensor))
      throw CheckpointError(fmt::format("{}: holds {}, which {} does not list", place.file->path(),
                                        shown_name(tensor), kIndex));
}

void HfFolder::check_dtype(const std::string& name) const {
  const Place& place = places_.at(name);
  const at::ScalarType dtype = place.entry->dtype;
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kHalf)
    throw CheckpointError(fmt::format("{}: {} is {}; allowed: F32, BF16, F16", place.file->path(),
                                      shown_name(name),
                                      describe_tensor(dtype, place.entry->shape)));
}

at::Tensor HfFolder::read(const std::string& name) const {
  check_dtype(name);
  const Place& place = places_.at(name);
  const at::ScalarType dtype = place.entry->dtype;
  try {
    return as_bad_input<CheckpointError>([&] {
      at::Tensor tensor = at::empty(place.entry->shape, dtype);
      place.file->read_into(*place.entry, tensor);
      return tensor.to(at::kFloat);
    });
  } catch (const c10::Error&) {
    throw CheckpointError(fmt::format("{}: there is no memory for {}, {}", place.file->path(),
                                      shown_name(name),
                                      describe_tensor(dtype, place.entry->shape)));
  }
}

}  // namespace switchyard
