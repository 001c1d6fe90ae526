#include "parallel/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "core/base/error.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr size_t kStepDigits = 8;
constexpr size_t kMaxStepDigits = 16;  // steps below 2^53

bool is_ours(const std::string& name) {
  return name.starts_with(kStepPrefix) || name.starts_with(kTrashPrefix);
}

/// "step-00000100" + suffix → "step-00000100"; empty where the name is another.
std::string base_before(const std::string& name, std::string_view suffix) {
  const auto place = name.find(suffix);
  if (place == std::string::npos) return "";
  const std::string base = name.substr(0, place);
  return step_of_folder_name(base) ? base : "";
}

// From the newest down, until `most` are found.
FoundCheckpoints find_from_newest(Communicator& comm, FileOps& files, const std::string& parent,
                                  size_t most) {
  std::string listing;
  run_on_first(comm, [&] {
    for (const int64_t step : checkpoint_steps(files, parent))
      listing = fmt::format("{}\n{}", step_folder_name(step), listing);
  });
  listing = broadcast_text(comm, listing);

  FoundCheckpoints found;
  for (size_t begin = 0; begin < listing.size() && found.checkpoints.size() < most;) {
    const size_t end = listing.find('\n', begin);
    const std::string name = listing.substr(begin, end - begin);
    begin = end + 1;
    try {
      auto checkpoint = verify_checkpoint(comm, files, parent + "/" + name);
      const int64_t step = checkpoint.manifest.metadata.step;
      if (step_folder_name(step) == name)
        found.checkpoints.push_back(std::move(checkpoint));
      else
        found.skipped.push_back(fmt::format("{}/{}: holds step {}", parent, name, step));
    } catch (const CommError&) {
      throw;
    } catch (const Error& e) {
      found.skipped.push_back(e.what());
    }
  }
  return found;
}

}  // namespace

std::string step_folder_name(int64_t step) {
  SWITCHYARD_CHECK(step >= 0, "step {}", step);
  return fmt::format("{}{:0{}}", kStepPrefix, step, kStepDigits);
}

std::optional<int64_t> step_of_folder_name(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  const std::string digits = name.substr(kStepPrefix.size());
  if (digits.size() < kStepDigits || digits.size() > kMaxStepDigits ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  const int64_t step = std::stoll(digits);
  return step_folder_name(step) == name ? std::optional(step) : std::nullopt;
}

std::vector<int64_t> checkpoint_steps(FileOps& files, const std::string& parent) {
  std::vector<int64_t> steps;
  if (files.kind(parent) == FileOps::Kind::kMissing) return steps;
  for (const auto& name : files.list(parent)) {
    if (const auto step = step_of_folder_name(name)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::vector<std::string> recover_checkpoint_folder(FileOps& files, const std::string& parent) {
  std::vector<std::string> done;
  if (files.kind(parent) == FileOps::Kind::kMissing) return done;
  for (const auto& name : files.list(parent)) {
    if (!is_ours(name)) continue;
    const std::string path = parent + "/" + name;
    if (name.starts_with(kTrashPrefix) || !base_before(name, kDraftMark).empty()) {
      remove_tree(files, path);
      done.push_back("removed the remains " + path);
    } else if (name.ends_with(kReplacedSuffix) && !base_before(name, kReplacedSuffix).empty()) {
      const std::string own = parent + "/" + base_before(name, kReplacedSuffix);
      if (files.kind(own) == FileOps::Kind::kMissing) {
        files.rename(path, own);
        files.sync_folder(parent);
        done.push_back("restored " + own);
      } else {
        remove_checkpoint_folder(files, path);
        done.push_back("removed the replaced " + path);
      }
    }
  }
  return done;
}

void remove_checkpoint_folder(FileOps& files, const std::string& folder) {
  if (files.kind(folder) != FileOps::Kind::kFolder)
    throw CheckpointError(
        fmt::format("{}: not deleted, it is a link or not a folder; remove it by hand", folder));
  const auto slash = folder.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "." : folder.substr(0, slash);
  const std::string name = slash == std::string::npos ? folder : folder.substr(slash + 1);
  const std::string trash = parent + "/" + kTrashPrefix + name;
  if (files.kind(trash) != FileOps::Kind::kMissing) remove_tree(files, trash);
  files.rename(folder, trash);
  files.sync_folder(parent);
  remove_tree(files, trash);
}

PruneResult prune_checkpoints(FileOps& files, const std::string& parent, int64_t keep) {
  SWITCHYARD_CHECK(keep >= 1, "keep {}", keep);
  std::vector<int64_t> steps = checkpoint_steps(files, parent);
  steps.resize(static_cast<size_t>(std::max<int64_t>(0, std::ssize(steps) - keep)));
  PruneResult result;
  for (const int64_t step : steps) {
    try {
      remove_checkpoint_folder(files, parent + "/" + step_folder_name(step));
      result.deleted.push_back(step);
    } catch (const Error& e) {
      result.problems.push_back(e.what());
    }
  }
  return result;
}

std::vector<std::string> set_aside_newer(FileOps& files, const std::string& parent, int64_t step) {
  std::vector<std::string> moved;
  for (const int64_t newer : checkpoint_steps(files, parent)) {
    if (newer <= step) continue;
    const std::string path = parent + "/" + step_folder_name(newer);
    int number = 1;
    while (files.kind(fmt::format("{}.aside-{}", path, number)) != FileOps::Kind::kMissing)
      ++number;
    moved.push_back(fmt::format("{}.aside-{}", path, number));
    files.rename(path, moved.back());
  }
  if (!moved.empty()) files.sync_folder(parent);
  return moved;
}

CheckpointsAtPath checkpoints_in(FileOps& files, const std::string& path) {
  if (files.kind(path + "/" + kManifestName) != FileOps::Kind::kMissing) return {"", {path}};
  for (const std::string& parent : {path + "/checkpoints", path}) {
    const auto kind = files.kind(parent);
    if (kind != FileOps::Kind::kFolder && kind != FileOps::Kind::kLink) continue;
    CheckpointsAtPath result{parent, {}};
    for (const int64_t step : checkpoint_steps(files, parent))
      result.folders.push_back(parent + "/" + step_folder_name(step));
    if (!result.folders.empty()) return result;
  }
  throw CheckpointError(fmt::format(
      "{}: {}", path,
      files.kind(path) == FileOps::Kind::kMissing
          ? "no such run or checkpoint"
          : "holds no checkpoint; allowed are a run folder, or a folder with manifest.json"));
}

FoundCheckpoint find_newest_checkpoint(Communicator& comm, FileOps& files,
                                       const std::string& parent) {
  FoundCheckpoints found = find_from_newest(comm, files, parent, 1);
  FoundCheckpoint newest{{}, std::move(found.skipped)};
  if (!found.checkpoints.empty()) newest.checkpoint = std::move(found.checkpoints.front());
  return newest;
}

FoundCheckpoints find_whole_checkpoints(Communicator& comm, FileOps& files,
                                        const std::string& parent) {
  FoundCheckpoints found =
      find_from_newest(comm, files, parent, std::numeric_limits<size_t>::max());
  std::reverse(found.checkpoints.begin(), found.checkpoints.end());
  return found;
}

}  // namespace switchyard
