#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/checkpoint/safetensors.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "parallel/checkpoint/state_plan.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

using nlohmann::json;

/// What one rank tells the others about the file that it wrote; "" if it had nothing to write.
std::string write_share(FileOps& files, const std::string& folder, int rank,
                        const StateList& mine) {
  if (mine.empty()) return "";
  const std::string name = fmt::format("rank-{:05}.safetensors", rank);
  const HashedFile written = write_safetensors(files, folder + "/" + name, mine);
  json report = {{"name", name}, {"bytes", written.bytes}, {"hash", written.hash}};
  for (const auto& tensor : written.tensors) report["tensors"][tensor.entry.name] = tensor.hash;
  return report.dump();
}

/// The manifest that follows from the plan and the ranks' reports.
Manifest assemble(const CheckpointMetadata& metadata, const std::vector<PlannedTensor>& plan,
                  const std::vector<std::string>& reports) {
  Manifest manifest;
  manifest.metadata = metadata;
  std::map<int, std::pair<size_t, json>> by_rank;
  for (size_t rank = 0; rank < reports.size(); ++rank) {
    if (reports[rank].empty()) continue;
    json report = json::parse(reports[rank]);
    by_rank[static_cast<int>(rank)] = {manifest.files.size(), report["tensors"]};
    manifest.files.push_back({report["name"], report["bytes"], report["hash"]});
  }
  for (const auto& tensor : plan) {
    const auto& [file, hashes] = by_rank.at(tensor.writer);
    manifest.tensors.push_back(
        {tensor.name, tensor.dtype, tensor.shape, hashes.at(tensor.name).get<std::string>(), file});
  }
  return manifest;
}

/// From here on the checkpoint exists: everything in `draft` is on the disk and takes its name.
void commit(FileOps& files, const std::string& parent, const std::string& draft, int64_t step) {
  files.sync_folder(draft);
  const std::string target = parent + "/" + step_folder_name(step);
  // A folder cannot replace a folder. Should the process end between the two renames, the next
  // start finds the old one under this name and gives it back its own.
  const std::string old = target + kReplacedSuffix;
  const bool replaces = files.kind(target) != FileOps::Kind::kMissing;
  if (replaces) files.rename(target, old);
  files.rename(draft, target);
  files.sync_folder(parent);
  if (replaces) remove_checkpoint_folder(files, old);
}

/// After a failed save: no draft, and a replaced checkpoint under its own name again.
void undo(FileOps& files, const std::string& parent) noexcept {
  try {
    recover_checkpoint_folder(files, parent);
  } catch (const std::exception&) {
    // The error that led here is the one to tell; the next start removes what is left.
  }
}

}  // namespace

VerifiedCheckpoint save_checkpoint(Communicator& comm, FileOps& files, const std::string& parent,
                                   const StateList& state, const CheckpointMetadata& metadata) {
  const auto plan = plan_state(comm, state);
  const std::string draft = fmt::format("{}/{}{}{}", parent, step_folder_name(metadata.step),
                                        kDraftMark, metadata.run_id);
  VerifiedCheckpoint saved{parent + "/" + step_folder_name(metadata.step), {}, {}};
  try {
    run_on_first(comm, [&] {
      make_folders(files, parent);
      recover_checkpoint_folder(files, parent);
      files.make_folder(draft);
    });
    std::string report;
    run_together(comm, [&] {
      report = write_share(files, draft, comm.rank(), items_written_by(comm.rank(), plan, state));
    });
    saved.manifest = assemble(metadata, plan, gather_texts(comm, report));
    run_on_first(comm, [&] {
      write_file(files, draft + "/" + kManifestName, write_manifest(saved.manifest));
      commit(files, parent, draft, metadata.step);
    });
  } catch (const Error&) {
    if (comm.rank() == 0) undo(files, parent);
    throw;
  }
  return saved;
}

std::string state_hash(Communicator& comm, const StateList& state) {
  const auto plan = plan_state(comm, state);
  std::string report;
  run_together(comm, [&] {
    json hashes = json::object();
    for (const auto& item : items_written_by(comm.rank(), plan, state))
      hashes[item.name] = hash_hex(item.tensor);
    report = hashes.dump();
  });
  Manifest manifest;
  std::vector<json> by_rank;
  for (const auto& text : gather_texts(comm, report)) by_rank.push_back(json::parse(text));
  for (const auto& tensor : plan) {
    const json& hashes = by_rank[static_cast<size_t>(tensor.writer)];
    manifest.tensors.push_back(
        {tensor.name, tensor.dtype, tensor.shape, hashes.at(tensor.name).get<std::string>(), 0});
  }
  return manifest.state_hash();
}

}  // namespace switchyard
