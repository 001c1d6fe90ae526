#include "parallel/comm/factory.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "parallel/comm/nccl.h"

namespace switchyard {
namespace {

std::vector<std::string> backends(const WorldOptions& options) {
  if (!options.launched) return {"auto", "local"};
  std::vector<std::string> names = {"auto"};
  if (has_mpi() && !options.device.is_cuda()) names.push_back("mpi");
  if (has_nccl() && options.device.is_cuda()) names.push_back("nccl");
  return names;
}

[[noreturn]] void refuse(const WorldOptions& options, const std::string& why) {
  std::string allowed;
  for (const auto& name : backends(options)) allowed += (allowed.empty() ? "" : ", ") + name;
  throw ConfigError(
      fmt::format("parallel.comm: {} {}; allowed here: {}", options.backend, why, allowed));
}

std::string resolve(const WorldOptions& options) {
  if (options.backend != "auto") return options.backend;
  if (!options.launched) return "local";
  return options.device.is_cuda() ? "nccl" : "mpi";
}

}  // namespace

std::unique_ptr<Communicator> make_world(const WorldOptions& options) {
  const std::string backend = resolve(options);
  if (backend == "local") {
    if (options.launched) refuse(options, "is for one process, and a launcher started this one");
    return make_local_communicator();
  }
  if (backend == "mpi" || backend == "nccl") {
    if (!(backend == "mpi" ? has_mpi() : has_nccl())) refuse(options, "is not in this build");
    if (!options.launched) refuse(options, "needs mpirun, and this process was started alone");
    if (backend == "mpi" && options.device.is_cuda())
      refuse(options, "carries CPU tensors, and the ranks compute on GPUs (run.device)");
    if (backend == "mpi") return make_mpi_world();
    if (!options.device.is_cuda()) refuse(options, "needs a GPU per rank, and run.device is cpu");
    return make_nccl_communicator(make_mpi_world(), options.device);
  }
  if (backend == "thread")
    refuse(options, "runs ranks inside one process, which only tests and route do");
  refuse(options, "is unknown");
}

std::vector<std::pair<std::string, std::string>> comm_versions() {
  return {{"MPI", mpi_version()}, {"NCCL", nccl_version()}};
}

}  // namespace switchyard
