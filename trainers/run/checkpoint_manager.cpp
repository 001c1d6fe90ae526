#include "trainers/run/checkpoint_manager.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/config/forms.h"
#include "core/config/layers.h"
#include "core/config/nearest.h"
#include "core/config/yaml.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

bool is_same_folder(const fs::path& a, const fs::path& b) {
  std::error_code error;
  return fs::equivalent(a.empty() ? "." : a, b.empty() ? "." : b, error) && !error;
}

[[noreturn]] void fail_all_damaged(const std::string& where,
                                   const std::vector<std::string>& skipped) {
  throw CheckpointError(
      fmt::format("{}: none of its {} checkpoints is whole: {}; start again with run.resume=never "
                  "or another run.dir",
                  where, skipped.size(), fmt::join(skipped, " | ")));
}

std::vector<std::string> as_warnings(const std::vector<std::string>& skipped) {
  std::vector<std::string> warnings;
  for (const auto& reason : skipped) warnings.push_back("WARNING: skipped a checkpoint: " + reason);
  return warnings;
}

void warn_of_skipped(const std::vector<std::string>& skipped, VerifiedCheckpoint& checkpoint) {
  const auto warnings = as_warnings(skipped);
  checkpoint.notices.insert(checkpoint.notices.begin(), warnings.begin(), warnings.end());
}

void check_one_run(const std::vector<VerifiedCheckpoint>& checkpoints) {
  const TrainConfig newest = saved_config(checkpoints.back());
  for (const VerifiedCheckpoint& checkpoint : checkpoints) {
    const std::string differences = resume_differences(saved_config(checkpoint), newest);
    if (!differences.empty())
      throw CheckpointError(fmt::format("{}: is of another run than {}: {}", checkpoint.folder,
                                        checkpoints.back().folder,
                                        fmt::join(lines_of(differences), ", ")));
  }
}

// The folder of checkpoints that `path` means, on every rank; "" where it is a checkpoint.
std::string parent_at(Communicator& comm, FileOps& files, const std::string& path) {
  std::string parent;
  run_on_first(comm, [&] { parent = checkpoints_in(files, path).parent; });
  return broadcast_text(comm, parent);
}

}  // namespace

CheckpointManager::CheckpointManager(Communicator& comm, FileOps& files, std::string folder,
                                     CheckpointOptions options)
    : comm_(comm), files_(files), folder_(std::move(folder)), options_(options) {}

std::optional<VerifiedCheckpoint> CheckpointManager::find(const std::string& resume) {
  std::vector<std::string> cleaned;
  run_on_first(comm_, [&] { cleaned = recover_checkpoint_folder(files_, folder_); });
  add_notices(cleaned);
  auto checkpoint = find_resumed(comm_, files_, folder_, resume);
  if (checkpoint)
    notices_.insert(notices_.end(), checkpoint->notices.begin(), checkpoint->notices.end());
  return checkpoint;
}

void CheckpointManager::load(const VerifiedCheckpoint& checkpoint, const StateList& state) {
  load_checkpoint(comm_, files_, checkpoint, state);
  const int64_t step = checkpoint.manifest.metadata.step;
  std::vector<std::string> moved;
  bool own = false;
  run_on_first(comm_, [&] {
    own = is_same_folder(fs::path(checkpoint.folder).parent_path(), folder_);
    for (const auto& path : set_aside_newer(files_, folder_, own ? step : -1))
      moved.push_back("set aside " + path);
  });
  add_notices(moved);
  own = broadcast_text(comm_, own ? "own" : "") == "own";
  saved_step_ = own ? step : -1;
}

bool CheckpointManager::due(int64_t step, int64_t last_step, bool requested) const {
  if (step == saved_step_) return false;
  if (requested) return true;
  return options_.every > 0 && (step % options_.every == 0 || step == last_step);
}

VerifiedCheckpoint CheckpointManager::save(const StateList& state,
                                           const CheckpointMetadata& metadata) {
  auto saved = save_checkpoint(comm_, files_, folder_, state, metadata);
  saved_step_ = metadata.step;
  std::vector<std::string> warnings;
  run_on_first(comm_, [&] {
    for (const auto& problem : prune_checkpoints(files_, folder_, options_.keep).problems)
      warnings.push_back("WARNING: an old checkpoint stays: " + problem);
  });
  add_notices(warnings);
  return saved;
}

std::vector<std::string> CheckpointManager::take_notices() {
  return std::exchange(notices_, {});
}

void CheckpointManager::add_notices(const std::vector<std::string>& of_first_rank) {
  std::vector<std::string> lines;
  for (const auto& notice : of_first_rank) lines.push_back(one_line(notice));
  const std::string text = broadcast_text(comm_, fmt::format("{}", fmt::join(lines, "\n")));
  for (const auto& line : lines_of(text)) notices_.push_back(line);
}

std::optional<VerifiedCheckpoint> find_resumed(Communicator& comm, FileOps& files,
                                               const std::string& folder,
                                               const std::string& resume) {
  if (resume == "never") return std::nullopt;
  if (resume != "auto" && resume != "must") return open_checkpoint(comm, files, resume);
  FoundCheckpoint found = find_newest_checkpoint(comm, files, folder);
  if (!found.checkpoint && !found.skipped.empty()) fail_all_damaged(folder, found.skipped);
  if (!found.checkpoint && resume == "must")
    throw CheckpointError(fmt::format("run.resume: must, but {} has no checkpoint", folder));
  if (found.checkpoint) warn_of_skipped(found.skipped, *found.checkpoint);
  return std::move(found.checkpoint);
}

VerifiedCheckpoint open_checkpoint(Communicator& comm, FileOps& files, const std::string& path) {
  const std::string parent = parent_at(comm, files, path);
  if (parent.empty()) return verify_checkpoint(comm, files, path);
  FoundCheckpoint found = find_newest_checkpoint(comm, files, parent);
  if (!found.checkpoint) fail_all_damaged(parent, found.skipped);
  warn_of_skipped(found.skipped, *found.checkpoint);
  return std::move(*found.checkpoint);
}

std::vector<VerifiedCheckpoint> open_checkpoints(Communicator& comm, FileOps& files,
                                                 const std::string& path) {
  const std::string parent = parent_at(comm, files, path);
  if (parent.empty()) return {verify_checkpoint(comm, files, path)};
  FoundCheckpoints found = find_whole_checkpoints(comm, files, parent);
  if (found.checkpoints.empty()) fail_all_damaged(parent, found.skipped);
  check_one_run(found.checkpoints);
  warn_of_skipped(found.skipped, found.checkpoints.back());
  return std::move(found.checkpoints);
}

TrainConfig saved_config(const VerifiedCheckpoint& checkpoint) {
  TrainConfig config;
  Origins origins;
  apply_layer(*Fields::bind(config),
              parse_yaml(checkpoint.manifest.metadata.config, checkpoint.folder), origins);
  return config;
}

std::vector<std::string> check_resume(const VerifiedCheckpoint& checkpoint, const TrainConfig& now,
                                      const std::string& fingerprint) {
  TrainConfig saved = saved_config(checkpoint), present = now;
  // auto is the data's vocabulary; that the data are the same is the fingerprint's to say.
  if (!saved.model.vocab_size) saved.model.vocab_size = present.model.vocab_size;
  std::vector<std::string> differences = lines_of(resume_differences(saved, present));
  if (differences.empty() && fingerprint != checkpoint.manifest.metadata.fingerprint)
    differences.push_back("data: its files or their contents have changed");
  if (!differences.empty())
    throw CheckpointError(
        fmt::format("{}: is of another run: {}; use run.dir=... for a new one or "
                    "run.resume=never to start again",
                    checkpoint.folder, fmt::join(differences, ", ")));
  std::vector<std::string> allowed;
  const auto before = Fields::bind(saved), after = Fields::bind(present);
  for (const auto& line : lines_of(diff(before->present(), after->present()))) {
    if (!line.starts_with("run.")) allowed.push_back("resumed with another " + line);
  }
  return allowed;
}

std::string make_run_id(Communicator& comm) {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const std::string mine =
      hash_hex(fmt::format("{} {} {} {}", host, getpid(), now, std::random_device()()));
  return broadcast_text(comm, mine.substr(0, 12));
}

}  // namespace switchyard
