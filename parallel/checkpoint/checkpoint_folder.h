#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/checkpoint/file_ops.h"
#include "parallel/checkpoint/sharded_checkpoint.h"

namespace switchyard {

// The folder that holds a run's checkpoints. Names in it:
//   step-00000100                 a checkpoint
//   step-00000100.tmp-RUNID       being written; never read
//   step-00000100.replaced        the older one of a step that is being saved again
//   .trash-step-00000100          being deleted
//   step-00000100.aside-1         set aside when a run went on from elsewhere; never touched again

constexpr const char* kDraftMark = ".tmp-";
constexpr const char* kReplacedSuffix = ".replaced";
constexpr const char* kTrashPrefix = ".trash-";

/// "step-00000100".
std::string step_folder_name(int64_t step);
/// The step of such a name; nullopt for every other name.
std::optional<int64_t> step_of_folder_name(const std::string& name);

/// Steps that have a folder in `parent`, ascending. A missing `parent` has none. Local.
std::vector<int64_t> checkpoint_steps(FileOps& files, const std::string& parent);

/// Removes what saves and deletions that did not end have left, and gives a replaced checkpoint its
/// name back where its successor never came. Only for the process that owns the run. Local; returns
/// what it did, one line each.
std::vector<std::string> recover_checkpoint_folder(FileOps& files, const std::string& parent);

/// Deletes a checkpoint: first takes it away under one rename, then removes its files. A link, or
/// anything but a folder, is refused with CheckpointError. Local.
void remove_checkpoint_folder(FileOps& files, const std::string& folder);

/// What pruning did: it goes on past what it cannot delete.
struct PruneResult {
  std::vector<int64_t> deleted;
  std::vector<std::string> problems;  ///< one line each
};
/// Deletes all but the `keep` (at least 1) newest checkpoints. Local.
PruneResult prune_checkpoints(FileOps& files, const std::string& parent, int64_t keep);

/// Renames every checkpoint of a step above `step` to *.aside-N, so that none of them can be taken
/// for a part of the run that goes on from `step`. Local; returns the new paths.
std::vector<std::string> set_aside_newer(FileOps& files, const std::string& parent, int64_t step);

/// What a path on a command line means: a checkpoint, a folder of checkpoints, or a run.
struct CheckpointsAtPath {
  std::string parent;                ///< the folder of checkpoints; "" where `path` is a checkpoint
  std::vector<std::string> folders;  ///< by ascending step; never empty
};
/// Local. Throws CheckpointError where there is none.
CheckpointsAtPath checkpoints_in(FileOps& files, const std::string& path);

/// The newest checkpoint that is whole, and the newer ones that are not.
struct FoundCheckpoint {
  std::optional<VerifiedCheckpoint> checkpoint;
  std::vector<std::string> skipped;  ///< one line each: what is wrong with it
};

/// Collective. Tries the checkpoints in `parent` from the newest down until one verifies. None
/// there: no checkpoint and nothing skipped. All damaged: no checkpoint and the list of what is
/// wrong.
FoundCheckpoint find_newest_checkpoint(Communicator& comm, FileOps& files,
                                       const std::string& parent);

/// The whole checkpoints of a folder, and what is wrong with the others.
struct FoundCheckpoints {
  std::vector<VerifiedCheckpoint> checkpoints;  ///< by ascending step
  std::vector<std::string> skipped;
};
/// Collective. Verifies every checkpoint in `parent`.
FoundCheckpoints find_whole_checkpoints(Communicator& comm, FileOps& files,
                                        const std::string& parent);

}  // namespace switchyard
