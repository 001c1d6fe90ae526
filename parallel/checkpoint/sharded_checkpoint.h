#pragma once

#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/checkpoint/file_ops.h"
#include "core/checkpoint/state.h"
#include "parallel/checkpoint/manifest.h"

namespace switchyard {

// A checkpoint is a folder of safetensors files, one per rank that wrote, and a manifest. It
// appears under its name by one rename, after every rank's file is on the disk: it is there in full
// or not at all. docs/checkpoints.md tells the protocol.
//
// Every function here that takes a Communicator is collective: all ranks of `comm` call it, with
// the same arguments but their own state, and an error on one rank is thrown on every rank (as
// Error, with its exit code). All ranks must see the same file system. Collectives use tensors in
// host memory.

/// A checkpoint whose manifest, file sizes and all hashes were just found right.
struct VerifiedCheckpoint {
  std::string folder;
  Manifest manifest;
  std::vector<std::string> notices;  ///< what is odd but harmless: files that nobody listed
};

/// Saves the state of all ranks as `parent`/step-00000100, replacing an older one of that step, and
/// returns what was written. Each tensor is written by one of its holders. On an error nothing of
/// it is left and older checkpoints are as before; IoError has exit code 4.
VerifiedCheckpoint save_checkpoint(Communicator& comm, FileOps& files, const std::string& parent,
                                   const StateList& state, const CheckpointMetadata& metadata);

/// Local. The manifest of a checkpoint, checked in itself; the files are not looked at.
Manifest read_manifest(FileOps& files, const std::string& folder);

/// Reads the manifest and every byte, the files shared out over the ranks. Throws what is damaged,
/// missing or unreadable, naming file and tensor (exit code 2).
VerifiedCheckpoint verify_checkpoint(Communicator& comm, FileOps& files, const std::string& folder);

/// What to do about tensors of the checkpoint that no rank asks for.
enum class ExtraTensors {
  kRefuse,  ///< resume: the state must match exactly
  kIgnore,  ///< evaluation and init_from: weights without optimizer state
};

/// Fills the live tensors of `state`; any number of ranks and any distribution of tensors over
/// them. A tensor that the checkpoint lacks, or holds with another dtype or shape, is an error that
/// names it, before anything is written. After an I/O error in the middle the state is not usable.
void load_checkpoint(Communicator& comm, FileOps& files, const VerifiedCheckpoint& checkpoint,
                     const StateList& state, ExtraTensors extra = ExtraTensors::kRefuse);

/// The hash of the live state of all ranks, 32 hex digits: independent of sharding, and equal to
/// the manifest's state_hash() of a checkpoint of it.
std::string state_hash(Communicator& comm, const StateList& state);

}  // namespace switchyard
