#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/checkpoint/file_ops.h"
#include "core/checkpoint/state.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// Decides when a run saves, what stays on disk, and where it goes on from. Every function but
/// due() is collective; an error is thrown on every rank.
class CheckpointManager {
 public:
  /// `folder` is the run's checkpoints folder, held by this job alone. All references must outlive
  /// it.
  CheckpointManager(Communicator& comm, FileOps& files, std::string folder,
                    CheckpointOptions options);

  /// What find_resumed() finds for this run, once what an interrupted save has left is cleaned up.
  std::optional<VerifiedCheckpoint> find(const std::string& resume);

  /// Fills the live state from `checkpoint`, which find() gave, and sets aside what is newer in
  /// this run's folder (all of it, if the checkpoint is from elsewhere): it is no part of this
  /// run's history.
  void load(const VerifiedCheckpoint& checkpoint, const StateList& state);

  /// Whether to save after `step` of `last_step`: every N steps, at the last one, and on request,
  /// but never a step that is already saved. With `every: 0` only on request. Local.
  bool due(int64_t step, int64_t last_step, bool requested) const;

  /// Saves, then deletes all but the newest `keep` checkpoints; one that cannot be deleted is a
  /// notice. A failed save throws with exit code 4 and leaves the older checkpoints as they were.
  VerifiedCheckpoint save(const StateList& state, const CheckpointMetadata& metadata);

  /// What the user should read, since the last call: damaged checkpoints that were skipped,
  /// clean-up, checkpoints set aside or not deleted. The same on every rank.
  std::vector<std::string> take_notices();

 private:
  void add_notices(const std::vector<std::string>& of_first_rank);

  Communicator& comm_;
  FileOps& files_;
  std::string folder_;
  CheckpointOptions options_;
  int64_t saved_step_ = -1;
  std::vector<std::string> notices_;
};

/// The checkpoint that `run.resume` names, verified, or nothing: the run starts at step 0. `folder`
/// is the run's checkpoints folder; nothing in it changes.
///   never: nothing. auto: the newest that is whole, with a notice for each newer one that is not;
///   CheckpointError if there are some and all are damaged. must: as auto, and an error if there is
///   none. A path of a checkpoint: that one, whatever it is, or an error; of a run: its newest
///   whole one.
/// Collective.
std::optional<VerifiedCheckpoint> find_resumed(Communicator& comm, FileOps& files,
                                               const std::string& folder,
                                               const std::string& resume);

/// The checkpoint that RUN_OR_CHECKPOINT on a command line means: itself, or the newest whole one
/// of a run, with a notice for each newer one that is damaged. Collective; throws when there is
/// none.
VerifiedCheckpoint open_checkpoint(Communicator& comm, FileOps& files, const std::string& path);
/// Every whole checkpoint of a run, by ascending step, or the one that `path` names; the newest has
/// a notice for each that is damaged. Collective; throws when there is none, and where one could
/// not have gone on to the newest.
std::vector<VerifiedCheckpoint> open_checkpoints(Communicator& comm, FileOps& files,
                                                 const std::string& path);

/// The config that a checkpoint was saved with.
TrainConfig saved_config(const VerifiedCheckpoint& checkpoint);

/// Throws CheckpointError with the differences, on one line, when a run of `now` with data of this
/// fingerprint cannot go on from `checkpoint`: model, moe, data, optimizer type, seeds, sequence
/// layout or precision differ. Returns one line for each difference that is allowed, to be logged.
std::vector<std::string> check_resume(const VerifiedCheckpoint& checkpoint, const TrainConfig& now,
                                      const std::string& fingerprint);

/// A name for one process's saves: 12 hex digits from the clock, the process and the host.
/// Collective: rank 0's on every rank.
std::string make_run_id(Communicator& comm);

}  // namespace switchyard
