#include "trainers/import/hf_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/as_bad_input.h"
#include "core/base/error.h"
#include "core/checkpoint/strict_json.h"
#include "trainers/import/hf_families.h"

namespace switchyard {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 4 << 20;
constexpr int kMaxDepth = 16;
constexpr size_t kMaxEntries = 100'000;

json read_json(FileOps& files, const std::string& path) {
  const std::string text = as_bad_input<CheckpointError>([&] {
    if (files.kind(path) == FileOps::Kind::kMissing)
      throw CheckpointError(path + ": no such file; a Hugging Face folder holds one");
    return read_file(files, path, kMaxConfigBytes);
  });
  json object = parse_strict_json(text, path, {kMaxDepth, kMaxEntries, kMaxEntries});
  if (!object.is_object()) throw CheckpointError(path + ": is not a JSON object");
  return object;
}

}  // namespace

HfModel read_hf_config(FileOps& files, const std::string& folder) {
  const std::string path = folder + "/config.json";
  const json object = read_json(files, path);
  const HfKeys keys(object, path);
  HfModel model;
  read_hf_family(keys, model);
  try {
    validate(model.config.model);
    validate(model.config.moe);
  } catch (const ConfigError& error) {
    throw ConfigError(path + ": " + error.without_area());
  }
  const auto unread = keys.unread();
  if (!unread.empty())
    model.notes.push_back(fmt::format("{}: passed over: {}", path, shown_names(unread)));
  return model;
}

}  // namespace switchyard
