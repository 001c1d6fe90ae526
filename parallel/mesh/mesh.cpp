#include "parallel/mesh/mesh.h"

#include <string>

#include "core/base/error.h"

namespace switchyard {

Mesh::Mesh(Communicator& world, int expert_size) : world_(world) {
  const int ranks = world.size();
  if (expert_size < 1 || ranks % expert_size != 0) {
    std::string allowed;
    for (const int size : expert_sizes(ranks))
      allowed += (allowed.empty() ? "" : ", ") + std::to_string(size);
    throw ConfigError(fmt::format("parallel.expert: {} does not divide the {} rank{}, allowed: {}",
                                  expert_size, ranks, ranks == 1 ? "" : "s", allowed));
  }
  expert_group_ = world.split(world.rank() / expert_size, world.rank());
  replica_group_ = world.split(world.rank() % expert_size, world.rank());
}

std::vector<int> expert_sizes(int num_ranks) {
  std::vector<int> sizes;
  for (int size = 1; size <= num_ranks; ++size) {
    if (num_ranks % size == 0) sizes.push_back(size);
  }
  return sizes;
}

}  // namespace switchyard
