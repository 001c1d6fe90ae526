#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/communicator.h"
#include "parallel/comm/mpi.h"

namespace switchyard {

/// How this process meets the other ranks. Filled by launch/, which reads the environment.
struct WorldOptions {
  std::string backend = "auto";    ///< `parallel.comm`: auto | local | mpi | nccl
  bool launched = false;           ///< mpirun, PMIx or Slurm started this process
  c10::Device device = c10::kCPU;  ///< where this rank computes
};

/// The communicator of all ranks. A launched process needs a live MpiSession; a lone one never
/// touches MPI. auto: local for a lone process, else nccl on a GPU and mpi on a CPU. Collective.
/// Throws ConfigError, with what this build and this start allow, on every rank alike.
std::unique_ptr<Communicator> make_world(const WorldOptions& options);

/// The communication libraries of this build and their versions: {{"MPI", "..."}, {"NCCL", "..."}}.
std::vector<std::pair<std::string, std::string>> comm_versions();

}  // namespace switchyard
