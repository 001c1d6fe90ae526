#include "trainers/memory.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

namespace switchyard {

double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

double peak_memory_of_largest_rank(Communicator& world) {
  at::Tensor bytes = at::full({1}, peak_memory(), at::kDouble);
  world.all_reduce({bytes}, ReduceOp::kMax)->wait();
  return bytes.item<double>();
}

}  // namespace switchyard
