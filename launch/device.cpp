#include "launch/device.h"

#include <torch/cuda.h>

#include <algorithm>

#include "core/base/error.h"

namespace switchyard {

c10::Device choose_device(const std::string& wanted, const ProcessPlace& place) {
  const bool available = torch::cuda::is_available();
  if (wanted == "cuda" && !available)
    throw ConfigError(
        "run.device: cuda, but LibTorch sees no usable GPU; auto or cpu would run here");
  if (wanted == "cpu" || !available) return c10::Device(c10::kCPU);
  const auto count = static_cast<int>(torch::cuda::device_count());
  // srun without --ntasks-per-node numbers the ranks of a host and does not count them.
  const int local_ranks = std::max(place.local_ranks, place.local_rank + 1);
  if (local_ranks > count)
    throw ConfigError(
        fmt::format("{} ranks on this host but {} GPU(s): one rank per GPU, or run.device=cpu",
                    local_ranks, count));
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(place.local_rank));
}

}  // namespace switchyard
