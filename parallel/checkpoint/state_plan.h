#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/checkpoint/state.h"

namespace switchyard {

/// One tensor of the state of all ranks.
struct PlannedTensor {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  std::vector<int> holders;  ///< ranks that hold it, ascending
  int writer = 0;            ///< the one of them that saves or hashes it
};

/// Collective. The state of all ranks, sorted by name, the same on every rank. Writers are chosen
/// so that the ranks write about equally many bytes, from the listing alone: the same lists give
/// the same plan. Throws CheckpointError on every rank where a rank lists a name twice or two ranks
/// disagree about a dtype or shape.
std::vector<PlannedTensor> plan_state(Communicator& comm, const StateList& state);

/// Those items of this rank's list that it writes.
StateList items_written_by(int rank, const std::vector<PlannedTensor>& plan,
                           const StateList& state);

}  // namespace switchyard
