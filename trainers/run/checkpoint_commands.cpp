#include "trainers/run/checkpoint_commands.h"

#include <fmt/ranges.h>

#include <vector>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/checkpoint/strict_json.h"
#include "core/config/nearest.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "parallel/checkpoint/sharded_checkpoint.h"

namespace switchyard {
namespace {

std::string size_text(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string row(const std::string& folder, const Manifest& manifest) {
  const auto& topology = manifest.metadata.topology;
  const auto ranks = topology.find("ranks");
  return fmt::format(
      "{}  step {}  {}  {} tensors in {} files  ranks {}  state {}", folder, manifest.metadata.step,
      size_text(manifest.total_bytes()), manifest.tensors.size(), manifest.files.size(),
      ranks == topology.end() ? "?" : shown_text(ranks->second), manifest.state_hash());
}

}  // namespace

std::string checkpoint_list_text(FileOps& files, const std::string& path) {
  std::string text;
  for (const auto& folder : checkpoints_in(files, path).folders) {
    try {
      text += row(folder, read_manifest(files, folder)) + "\n";
    } catch (const Error& e) {
      text += fmt::format("{}  DAMAGED  {}\n", folder, e.without_area());
    }
  }
  return text;
}

std::string checkpoint_verify_text(FileOps& files, const std::string& path) {
  const auto comm = make_local_communicator();
  std::string text;
  std::vector<std::string> damaged;
  const auto folders = checkpoints_in(files, path).folders;
  for (const auto& folder : folders) {
    try {
      const auto checkpoint = verify_checkpoint(*comm, files, folder);
      text += row(folder, checkpoint.manifest) + "  ok\n";
      for (const auto& notice : checkpoint.notices) text += one_line(notice) + "\n";
    } catch (const Error& e) {
      damaged.push_back(e.without_area());
    }
  }
  if (!damaged.empty())
    throw CheckpointError(fmt::format("{} of {} damaged: {}", damaged.size(), folders.size(),
                                      fmt::join(damaged, " | ")));
  return text;
}

}  // namespace switchyard
