#include "parallel/checkpoint/manifest.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/checkpoint/safetensors_header.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"

namespace switchyard {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFormat = "switchyard checkpoint";
constexpr size_t kHashDigits = 32;
// The end of every manifest: the hash of the text, in which the hash itself is 32 zeros.
constexpr std::string_view kTailStart = "\"self_hash\": \"";
constexpr std::string_view kTailEnd = "\"\n}\n";
constexpr size_t kTailBytes = kTailStart.size() + kHashDigits + kTailEnd.size();

bool is_hash(const std::string& text) {
  return text.size() == kHashDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool is_plain_name(const std::string& text) {
  return !text.empty() && text.size() <= 64 && text.front() != '.' &&
         text.find_first_not_of(
             "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") ==
             std::string::npos;
}

/// Typed access to a JSON object, with the place in every error.
class Reader {
 public:
  Reader(const json& object, std::string where, std::set<std::string> keys)
      : object_(object), where_(std::move(where)) {
    if (!object.is_object()) fail("is not an object");
    for (const auto& key : keys) {
      if (!object.contains(key)) fail("lacks " + key);
    }
    if (object.size() != keys.size()) fail("has a key that version 1 does not know");
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw CheckpointError(where_ + ": " + problem);
  }
  std::string text(const char* key) const {
    if (!object_[key].is_string()) fail(fmt::format("{} is not a string", key));
    return object_[key].get<std::string>();
  }
  uint64_t count(const char* key) const {
    if (!object_[key].is_number_unsigned() || object_[key].get<uint64_t>() > (uint64_t{1} << 53))
      fail(fmt::format("{} is not an integer from 0 to 2^53", key));
    return object_[key].get<uint64_t>();
  }
  std::string hash(const char* key) const {
    if (!is_hash(text(key))) fail(fmt::format("{} is not 32 hex digits", key));
    return text(key);
  }
  const json& list(const char* key) const {
    if (!object_[key].is_array()) fail(fmt::format("{} is not a list", key));
    return object_[key];
  }
  template <class T>
  std::map<std::string, T> map_of(const char* key) const {
    std::map<std::string, T> result;
    try {
      object_[key].get_to(result);
    } catch (const json::exception&) {
      fail(fmt::format("{} has a value of another type", key));
    }
    return result;
  }

 private:
  const json& object_;
  std::string where_;
};

void check_self_hash(const std::string& text, const std::string& where) {
  const std::string_view all = text;
  if (all.size() < kTailBytes || all.substr(all.size() - kTailEnd.size()) != kTailEnd ||
      all.substr(all.size() - kTailBytes, kTailStart.size()) != kTailStart)
    throw CheckpointError(where + ": does not end with its own hash; it is cut off or altered");
  const size_t place = text.size() - kTailEnd.size() - kHashDigits;
  const std::string stored = text.substr(place, kHashDigits);
  std::string hashed = text;
  hashed.replace(place, kHashDigits, kHashDigits, '0');
  if (hash_hex(hashed) != stored)
    throw CheckpointError(where + ": its text does not match its own hash; it is damaged");
}

std::vector<Manifest::File> read_files(const json& list, const std::string& where) {
  std::vector<Manifest::File> files;
  std::set<std::string> names;
  for (const auto& object : list) {
    const Reader reader(object, where + ": files", {"name", "bytes", "hash"});
    Manifest::File file{reader.text("name"), reader.count("bytes"), reader.hash("hash")};
    if (!is_plain_name(file.name) || file.name == kManifestName || !names.insert(file.name).second)
      reader.fail("a file name that is not plain or appears twice");
    files.push_back(std::move(file));
  }
  return files;
}

Manifest::Tensor read_tensor(const json& object, const std::string& where, size_t num_files) {
  const Reader reader(object, where + ": tensors", {"name", "dtype", "shape", "hash", "file"});
  Manifest::Tensor tensor;
  tensor.name = reader.text("name");
  const std::string shown = shown_name(tensor.name), dtype_text = reader.text("dtype");
  const auto dtype = dtype_from_name(dtype_text);
  if (!dtype)
    reader.fail(fmt::format("{} has the unknown dtype {}", shown, shown_name(dtype_text)));
  tensor.dtype = *dtype;
  for (const auto& extent : reader.list("shape")) {
    if (!extent.is_number_unsigned() || extent.get<uint64_t>() > (uint64_t{1} << 53))
      reader.fail(shown + " has a shape with an entry that is not an integer from 0 to 2^53");
    tensor.shape.push_back(extent.get<int64_t>());
  }
  tensor_bytes(tensor.dtype, tensor.shape, where + ": " + shown);
  tensor.hash = reader.hash("hash");
  tensor.file = reader.count("file");
  if (tensor.file >= num_files) reader.fail(shown + " is in a file that is not listed");
  return tensor;
}

}  // namespace

std::string Manifest::config_hash() const {
  return hash_hex(metadata.config);
}

std::string Manifest::state_hash() const {
  StreamingHash hash;
  for (const auto& tensor : tensors) {
    const std::string line =
        fmt::format("{}\n{}\n{}\n{}\n", tensor.name, dtype_name(tensor.dtype).value(),
                    fmt::join(tensor.shape, ","), tensor.hash);
    hash.add(line.data(), line.size());
  }
  return hash.hex();
}

uint64_t Manifest::total_bytes() const {
  uint64_t sum = 0;
  for (const auto& file : files) sum += file.bytes;
  return sum;
}

const Manifest::Tensor* Manifest::find(const std::string& name) const {
  const auto place = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const Tensor& tensor, const std::string& key) { return tensor.name < key; });
  return place != tensors.end() && place->name == name ? &*place : nullptr;
}

std::string write_manifest(const Manifest& manifest) {
  const auto& metadata = manifest.metadata;
  SWITCHYARD_CHECK(is_plain_name(metadata.run_id), "run id {}", metadata.run_id);
  for (const auto& [name, number] : metadata.numbers)
    SWITCHYARD_CHECK(std::isfinite(number), "{} is {}", name, number);

  ordered_json top = {{"format", kFormat},
                      {"format_version", kManifestVersion},
                      {"step", metadata.step},
                      {"run_id", metadata.run_id},
                      {"state_hash", manifest.state_hash()},
                      {"config_hash", manifest.config_hash()},
                      {"config", metadata.config},
                      {"fingerprint", metadata.fingerprint},
                      {"topology", metadata.topology},
                      {"numbers", metadata.numbers},
                      {"files", ordered_json::array()},
                      {"tensors", ordered_json::array()}};
  for (const auto& file : manifest.files)
    top["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"hash", file.hash}});
  for (const auto& tensor : manifest.tensors)
    top["tensors"].push_back({{"name", tensor.name},
                              {"dtype", dtype_name(tensor.dtype).value()},
                              {"shape", tensor.shape},
                              {"hash", tensor.hash},
                              {"file", tensor.file}});

  // One line for each file and tensor: readable, and a difference between two is one line.
  std::string text = "{\n";
  for (const auto& [key, value] : top.items()) {
    text += fmt::format(" \"{}\": ", key);
    if (value.is_array() && !value.empty()) {
      text += "[\n";
      for (size_t i = 0; i < value.size(); ++i)
        text += "  " + value[i].dump() + (i + 1 < value.size() ? ",\n" : "\n");
      text += " ]";
    } else {
      text += value.dump();
    }
    text += ",\n";
  }
  text += fmt::format(" {}{}{}", kTailStart, std::string(kHashDigits, '0'), kTailEnd);
  const std::string hash = hash_hex(text);
  return text.replace(text.size() - kTailEnd.size() - kHashDigits, kHashDigits, hash);
}

Manifest parse_manifest(const std::string& text, const std::string& where) {
  check_self_hash(text, where);
  const json parsed = parse_strict_json(text, where, 4);
  if (parsed.is_object() && parsed.contains("format_version") &&
      parsed["format_version"] != kManifestVersion)
    throw CheckpointError(fmt::format("{}: format version {}, this program reads version {}", where,
                                      parsed["format_version"].dump(), kManifestVersion));
  const Reader reader(
      parsed, where,
      {"format", "format_version", "step", "run_id", "state_hash", "config_hash", "config",
       "fingerprint", "topology", "numbers", "files", "tensors", "self_hash"});
  if (reader.text("format") != kFormat) reader.fail("is not the manifest of a checkpoint");

  Manifest manifest;
  manifest.metadata = {static_cast<int64_t>(reader.count("step")),
                       reader.text("run_id"),
                       reader.text("config"),
                       reader.text("fingerprint"),
                       reader.map_of<std::string>("topology"),
                       reader.map_of<double>("numbers")};
  if (!is_plain_name(manifest.metadata.run_id)) reader.fail("run_id is not a plain name");
  manifest.files = read_files(reader.list("files"), where);
  for (const auto& object : reader.list("tensors"))
    manifest.tensors.push_back(read_tensor(object, where, manifest.files.size()));
  for (size_t i = 1; i < manifest.tensors.size(); ++i) {
    if (manifest.tensors[i - 1].name >= manifest.tensors[i].name)
      reader.fail("its tensors are not in the order of their names");
  }
  if (reader.hash("state_hash") != manifest.state_hash())
    reader.fail("state_hash does not follow from its tensors");
  if (reader.hash("config_hash") != manifest.config_hash())
    reader.fail("config_hash does not follow from its config");
  return manifest;
}

}  // namespace switchyard
