#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/moe/capacity_queue.h"

namespace switchyard {

/// Where refused assignments may still go.
struct Vacancies {
  at::Tensor totals_GE;             ///< int64, assignments of each group and expert, seated or not
  std::vector<int64_t> capacity_G;  ///< seats of each expert
};

/// Overflow rule next_choice. Each assignment of `mine` with slot −1, in filling order over all
/// ranks, takes a seat at the first expert in its token's ranking (decision.ranking_TE, −inf =
/// never, ties to the lower) that has one left and that the token has not got already. Changes
/// `slots` and `ids`, both flat [T·K]; true where something of this rank moved. Collective over the
/// groups' communicator.
bool place_refused(const RoutingDecision& decision, const CapacityGroups& groups,
                   const Vacancies& vacancies, const std::vector<Assignment>& mine, int64_t* slots,
                   int64_t* ids);

}  // namespace switchyard
