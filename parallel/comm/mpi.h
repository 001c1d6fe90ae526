#pragma once

#include <memory>
#include <string>

#include "core/base/communicator.h"

namespace switchyard {

/// MPI's life in this process. Made once, by launch/, in a process that a launcher started;
/// communicators end before it. A build without MPI throws CommError.
class MpiSession {
 public:
  /// MPI_Init_thread; calls may come from several threads, one at a time. Throws CommError.
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// Ends all ranks with this exit code, at once.
  [[noreturn]] void end_all_ranks(int code);
};

/// The world of all ranks, for CPU tensors. Needs a live MpiSession. Collective.
///
/// Collectives are messages between the ranks (message_plan.h), carried by non-blocking sends and
/// receives in pieces of at most 1 GiB. They advance whenever this process waits for any of them.
std::unique_ptr<Communicator> make_mpi_world();

/// Whether this build has MPI, and the library's version.
bool has_mpi();
std::string mpi_version();

}  // namespace switchyard
