#include "trainers/memory.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <sys/resource.h>

namespace switchyard {
namespace {

double largest(Communicator& world, double bytes) {
  at::Tensor number = at::full({1}, bytes, at::kDouble);
  world.all_reduce({number}, ReduceOp::kMax)->wait();
  return number.item<double>();
}

}  // namespace

double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

double peak_memory_of_largest_rank(Communicator& world) {
  return largest(world, peak_memory());
}

double peak_gpu_memory_of_largest_rank(Communicator& world, c10::Device device) {
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return largest(world, static_cast<double>(stats.allocated_bytes[0].peak));
}

}  // namespace switchyard
