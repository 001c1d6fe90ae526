#include <map>
#include <memory>
#include <set>

#include "core/base/as_bad_input.h"
#include "core/base/error.h"
#include "core/checkpoint/safetensors.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "parallel/checkpoint/state_plan.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

constexpr uint64_t kMaxManifestBytes = uint64_t{1} << 30;

/// The manifest's text; where it is not there, what is there instead.
std::string read_manifest_text(FileOps& files, const std::string& folder) {
  const std::string path = folder + "/" + kManifestName;
  return as_bad_input<CheckpointError>([&] {
    if (files.kind(path) == FileOps::Kind::kMissing)
      throw CheckpointError(fmt::format("{}: {}", folder,
                                        files.kind(folder) == FileOps::Kind::kMissing
                                            ? "no such checkpoint"
                                            : "not a checkpoint, it has no manifest.json"));
    return read_file(files, path, kMaxManifestBytes);
  });
}

/// Compares one file with the manifest, every byte.
void verify_file(FileOps& files, const std::string& folder, const Manifest& manifest,
                 size_t index) {
  const Manifest::File& listed = manifest.files[index];
  const std::string path = folder + "/" + listed.name;
  if (files.kind(path) == FileOps::Kind::kMissing)
    throw CheckpointError(fmt::format("{}: missing, the manifest lists it", path));
  {
    const OpenFile file(files, files.open(path));
    if (const uint64_t bytes = files.size(file.handle()); bytes != listed.bytes)
      throw CheckpointError(
          fmt::format("{}: {} bytes, the manifest says {}", path, bytes, listed.bytes));
  }
  const HashedFile found = SafetensorsFile(files, path).hash();
  size_t expected = 0;
  for (const auto& tensor : manifest.tensors) expected += tensor.file == index;
  for (const auto& [entry, hash] : found.tensors) {
    const Manifest::Tensor* tensor = manifest.find(entry.name);
    if (tensor == nullptr || tensor->file != index || tensor->dtype != entry.dtype ||
        tensor->shape != entry.shape)
      throw CheckpointError(fmt::format("{}: tensor {} ({}) is not what the manifest lists", path,
                                        shown_name(entry.name),
                                        describe_tensor(entry.dtype, entry.shape)));
    if (tensor->hash != hash)
      throw CheckpointError(fmt::format("{}: tensor {} is damaged (hash {}, the manifest says {})",
                                        path, shown_name(entry.name), hash, tensor->hash));
  }
  if (found.tensors.size() != expected)
    throw CheckpointError(fmt::format("{}: holds {} tensors, the manifest lists {}", path,
                                      found.tensors.size(), expected));
  if (found.hash != listed.hash)
    throw CheckpointError(
        fmt::format("{}: its header is damaged (file hash {}, the manifest says {})", path,
                    found.hash, listed.hash));
}

/// Files in the folder that the manifest does not list.
std::vector<std::string> unlisted_files(FileOps& files, const std::string& folder,
                                        const Manifest& manifest) {
  std::set<std::string> listed = {kManifestName};
  for (const auto& file : manifest.files) listed.insert(file.name);
  std::vector<std::string> result;
  for (const auto& name : files.list(folder)) {
    if (!listed.contains(name)) result.push_back(name);
  }
  return result;
}

/// The same on every rank: plan and manifest are.
void check_names(const std::vector<PlannedTensor>& plan, const VerifiedCheckpoint& checkpoint,
                 ExtraTensors extra) {
  const Manifest& manifest = checkpoint.manifest;
  std::vector<std::string> missing;
  std::set<std::string> wanted;
  for (const auto& tensor : plan) {
    wanted.insert(tensor.name);
    const Manifest::Tensor* stored = manifest.find(tensor.name);
    if (stored == nullptr) {
      missing.push_back(tensor.name);
    } else if (stored->dtype != tensor.dtype || stored->shape != tensor.shape) {
      throw CheckpointError(fmt::format("{}: {} is {} in the checkpoint, {} in this run",
                                        checkpoint.folder, shown_name(tensor.name),
                                        describe_tensor(stored->dtype, stored->shape),
                                        describe_tensor(tensor.dtype, tensor.shape)));
    }
  }
  if (!missing.empty())
    throw CheckpointError(
        fmt::format("{}: lacks {}, which this run has", checkpoint.folder, shown_names(missing)));
  if (extra == ExtraTensors::kIgnore) return;
  std::vector<std::string> unused;
  for (const auto& tensor : manifest.tensors) {
    if (!wanted.contains(tensor.name)) unused.push_back(tensor.name);
  }
  if (!unused.empty())
    throw CheckpointError(
        fmt::format("{}: has {}, which this run has not", checkpoint.folder, shown_names(unused)));
}

void read_share(FileOps& files, const VerifiedCheckpoint& checkpoint, const StateList& state) {
  const Manifest& manifest = checkpoint.manifest;
  std::map<size_t, std::vector<const StateItem*>> by_file;
  for (const auto& item : state) by_file[manifest.find(item.name)->file].push_back(&item);
  for (const auto& [index, items] : by_file) {
    const SafetensorsFile file(files, checkpoint.folder + "/" + manifest.files[index].name);
    std::map<std::string_view, const TensorEntry*> entries;
    for (const auto& entry : file.header().tensors) entries[entry.name] = &entry;
    for (const StateItem* item : items) {
      const auto entry = entries.find(item->name);
      if (entry == entries.end() ||
          file.read_into(*entry->second, item->tensor) != manifest.find(item->name)->hash)
        throw CheckpointError(fmt::format("{}: tensor {} changed while it was read", file.path(),
                                          shown_name(item->name)));
    }
  }
}

}  // namespace

Manifest read_manifest(FileOps& files, const std::string& folder) {
  const std::string text = read_manifest_text(files, folder);
  return parse_manifest(text, folder + "/" + kManifestName);
}

VerifiedCheckpoint verify_checkpoint(Communicator& comm, FileOps& files,
                                     const std::string& folder) {
  std::string text;
  run_on_first(comm, [&] { text = read_manifest_text(files, folder); });
  text = broadcast_text(comm, text);

  VerifiedCheckpoint checkpoint{folder, {}, {}};
  run_together(comm, [&] {
    checkpoint.manifest = parse_manifest(text, folder + "/" + kManifestName);
    const auto step = static_cast<size_t>(comm.size());
    for (size_t i = static_cast<size_t>(comm.rank()); i < checkpoint.manifest.files.size();
         i += step)
      as_bad_input<CheckpointError>([&] { verify_file(files, folder, checkpoint.manifest, i); });
  });
  std::string unlisted;
  run_on_first(comm, [&] {
    const auto names = unlisted_files(files, folder, checkpoint.manifest);
    if (!names.empty()) unlisted = folder + ": ignored, not in the manifest: " + shown_names(names);
  });
  unlisted = broadcast_text(comm, unlisted);
  if (!unlisted.empty()) checkpoint.notices.push_back(unlisted);
  return checkpoint;
}

void load_checkpoint(Communicator& comm, FileOps& files, const VerifiedCheckpoint& checkpoint,
                     const StateList& state, ExtraTensors extra) {
  check_names(plan_state(comm, state), checkpoint, extra);
  run_together(comm, [&] { read_share(files, checkpoint, state); });
}

}  // namespace switchyard
