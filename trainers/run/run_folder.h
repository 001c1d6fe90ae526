#pragma once

#include <chrono>
#include <string>

#include "core/base/communicator.h"

namespace switchyard {

/// What happens to a run folder that holds an earlier run.
enum class OldRun {
  kKeep,      ///< goes on in it
  kSetAside,  ///< renames it to NAME~1, or the first free number, and starts an empty one
};

/// The folder of a run, locked against other jobs while this object lives: every rank holds a share
/// of the lock, so that a rank which outlives its job still keeps the next one out.
class RunFolder {
 public:
  /// Collective. Makes the folder and its parents and takes the lock, waiting up to `patience` for
  /// another job to end. A folder that cannot be made or written, or that another job holds, throws
  /// on every rank before anything in it changes (exit code 2); the message names the holder.
  RunFolder(Communicator& comm, const std::string& path, OldRun old_run,
            std::chrono::milliseconds patience = std::chrono::seconds(5));
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string config() const { return path_ + "/config.yaml"; }
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  std::string summary() const { return path_ + "/summary.json"; }
  std::string tensorboard() const { return path_ + "/tb"; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  /// The log of one rank; its folder exists.
  std::string log(int rank) const;
  /// Where an earlier run went; "" where there was none.
  const std::string& set_aside() const { return set_aside_; }

 private:
  std::string path_;
  std::string set_aside_;
  int lock_ = -1;
};

}  // namespace switchyard
