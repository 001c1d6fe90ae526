#include "launch/process.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "trainers/stop_requests.h"

namespace switchyard {
namespace {

std::optional<int> integer_from(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return std::nullopt;
}

StopRequests requests;

void on_signal(int signal) {
  requests.save = true;
  if (signal != SIGUSR1) requests.stop = true;
}

}  // namespace

ProcessPlace process_place() {
  ProcessPlace place;
  // A step of srun, not the batch script itself, carries SLURM_STEP_ID.
  const bool slurm = std::getenv("SLURM_STEP_ID") && std::getenv("PMI_RANK");
  place.launched = std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMIX_RANK") || slurm;
  if (!place.launched) return place;
  place.rank = integer_from({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}).value_or(0);
  place.num_ranks = integer_from({"OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS"}).value_or(1);
  place.local_rank = integer_from({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}).value_or(0);
  place.local_ranks =
      integer_from({"OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"}).value_or(1);
  return place;
}

int num_threads(const ProcessPlace& place, const std::optional<int64_t>& wanted) {
  if (wanted) return static_cast<int>(*wanted);
  if (const auto given = integer_from({"OMP_NUM_THREADS"}); given && *given > 0) return *given;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, cores / std::max(1, place.local_ranks));
}

std::string widen_binding(const ProcessPlace& place) {
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  if (place.local_ranks == 1) {
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int core = 0; core < cores; ++core) CPU_SET(core, &all);
    sched_setaffinity(0, sizeof all, &all);  // refused in a cpuset: then the binding stays
    return {};
  }
  if (place.local_rank == 0 && place.local_ranks > cores) {
    return std::to_string(place.local_ranks) + " ranks share " + std::to_string(cores) +
           " cores of this host: expect them to wait for each other";
  }
  return {};
}

bool output_is_terminal() {
  if (!isatty(STDOUT_FILENO)) return false;
  if (!process_place().launched) return true;
  std::error_code ignored;
  const auto output =
      std::filesystem::read_symlink(fmt::format("/proc/{}/fd/1", getppid()), ignored);
  return output.string().starts_with("/dev/pts/") || output.string().starts_with("/dev/tty");
}

std::string shipped_configs() {
  std::error_code ignored;
  const auto binary = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto installed = binary.parent_path().parent_path() / "share/switchyard/configs";
  if (std::filesystem::is_directory(installed, ignored)) return installed.string();
  return SWITCHYARD_SOURCE_CONFIGS;
}

StopRequests& install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM}) sigaction(signal, &action, nullptr);
  return requests;
}

}  // namespace switchyard
