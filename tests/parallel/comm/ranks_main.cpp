// One rank of a job started by mpirun: runs the conformance suite over the real world.
// Usage: mpirun -n N test_comm_ranks mpi|nccl. Exit code 77 = skipped, no GPU here.

#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/zeros.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/base/error.h"
#include "parallel/comm/factory.h"
#include "tests/parallel/comm/conformance.h"
#include "tests/support/expect.h"

namespace {

using namespace switchyard;

/// Ranks that pass different sizes get errors, not a hang or half a tensor.
void sizes_that_differ_are_errors(Communicator& comm) {
  if (comm.size() == 1) return;
  at::Tensor tensor = at::zeros({comm.rank() == 0 ? 3 : 4});
  std::string text = "nothing was thrown";
  try {
    comm.all_reduce({tensor}, ReduceOp::kSum)->wait();
  } catch (const CommError& error) {
    text = error.what();
  }
  const bool meets_rank_0 = comm.rank() == 0 || comm.rank() == 1;
  EXPECT(!meets_rank_0 || text.find("all_reduce (mpi)") != std::string::npos, "{}", text);
}

/// mpirun's number of this host's ranks (SIZE), or of this rank among them (RANK).
int on_this_host(const std::string& what) {
  const char* value = std::getenv(("OMPI_COMM_WORLD_LOCAL_" + what).c_str());
  if (!value) throw CommError("start it with mpirun");
  return std::atoi(value);
}

int run(const std::string& backend) {
  const MpiSession session;
  at::set_num_threads(1);
  c10::Device device = c10::kCPU;
  const auto host = make_world({.backend = "mpi", .launched = true});
  if (backend == "nccl") {
    if (at::detail::getCUDAHooks().deviceCount() < on_this_host("SIZE")) return 77;
    device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(on_this_host("RANK")));
  }
  const auto world = make_world({.backend = backend, .launched = true, .device = device});
  EXPECT(world->backend() == backend);
  const auto failures = run_conformance(*world, device);
  if (world->rank() == 0) {
    for (const auto& failure : failures) fmt::print("FAILED {}\n", failure);
    fmt::print("{} of {} cases failed on {} ranks ({})\n", failures.size(),
               conformance_cases().size(), world->size(), backend);
  }
  if (backend == "mpi" && failures.empty()) sizes_that_differ_are_errors(*world);
  return failures.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int code = run(argc > 1 ? argv[1] : "mpi");
    if (code == 77) std::puts("skipped: fewer GPUs than ranks");
    return code;
  } catch (const std::exception& error) {
    fmt::print(stderr, "FAILED {}\n", error.what());
    return 1;
  }
}
