#pragma once

#include <memory>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// The ranks as a grid of replicas × expert coordinates: rank = replica × expert_size + coordinate.
/// The expert group is a row, consecutive ranks that together hold every expert once; the replica
/// group is a column, the ranks that hold the same experts.
class Mesh {
 public:
  /// Collective over `world`, which must outlive the mesh. Throws ConfigError unless expert_size
  /// divides the number of ranks.
  Mesh(Communicator& world, int expert_size);

  Communicator& world() const { return world_; }
  /// The ranks that share this rank's replica; its rank is the expert coordinate.
  Communicator& expert_group() const { return *expert_group_; }
  /// The ranks that hold the same experts as this one; its rank is the replica.
  Communicator& replica_group() const { return *replica_group_; }

  int expert_size() const { return expert_group_->size(); }
  int num_replicas() const { return replica_group_->size(); }

 private:
  Communicator& world_;
  std::unique_ptr<Communicator> expert_group_, replica_group_;
};

/// Every size the expert axis may have, ascending: the divisors of `num_ranks`.
std::vector<int> expert_sizes(int num_ranks);

}  // namespace switchyard
