#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "trainers/stop_requests.h"

namespace switchyard {

/// Where this process stands, read once from the environment that mpirun, PMIx or Slurm sets.
struct ProcessPlace {
  bool launched = false;  ///< started by a launcher: MPI is to be used
  int rank = 0, num_ranks = 1;
  int local_rank = 0, local_ranks = 1;  ///< on this host
};
ProcessPlace process_place();

/// Threads for one rank: `wanted`, else OMP_NUM_THREADS, else this host's cores / local ranks.
int num_threads(const ProcessPlace& place, const std::optional<int64_t>& wanted);

/// A lone process may run on every core, whatever mpirun bound it to. Returns a warning when ranks
/// of this host share a core, else an empty text.
std::string widen_binding(const ProcessPlace& place);

/// Whether standard output ends on a terminal. mpirun gives every rank a pseudo-terminal of its
/// own, so a launched process looks at the one of its launcher.
bool output_is_terminal();

/// The folder of the shipped configs: beside an installed binary, else the source tree's.
std::string shipped_configs();

/// Installs handlers: SIGUSR1 asks for a save, SIGUSR2 and SIGTERM for a save and stop. The flags
/// are only set here; the training loop acts on them at a step that all ranks agree on.
StopRequests& install_signal_handlers();

}  // namespace switchyard
