#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "core/moe/options.h"
#include "core/moe/records.h"

// The parts of apply_capacity: who shares a capacity, in which order, and who finds a place.
namespace switchyard {

/// One assignment (token, choice). Its place in the queue of its expert is its rank by order().
struct Assignment {
  int64_t group = 0, expert = 0;
  double primary = 0, secondary = 0;
  int64_t token = 0, choice = 0;  ///< token: of this rank; of the micro-batch once gathered
  int64_t local = -1;             ///< row in the flat [T·K] decision, −1 for another rank's

  auto order() const { return std::tie(primary, secondary, token, choice); }
};

/// The groups of tokens that share one capacity.
struct CapacityGroups {
  Communicator* communicator = nullptr;  ///< nullptr: no group reaches beyond this rank
  int64_t first = 0;                     ///< this rank's first token among `tokens`
  int64_t tokens = 0;                    ///< over all ranks
  int64_t group_tokens = std::numeric_limits<int64_t>::max();  ///< the last group may have fewer
  int64_t columns = 1;  ///< of the decision, the most over ranks

  int64_t group_of(int64_t local_token) const { return (first + local_token) / group_tokens; }
  int64_t num_groups() const;
  int64_t tokens_in(int64_t group) const;
};

/// Collective where `communicator` is set in the result. `fixed_columns`: every rank's decision has
/// the same number of columns.
CapacityGroups capacity_groups(const CapacityOptions& options, const RoutingContext& context,
                               const RoutingDecision& decision, bool fixed_columns);

/// The assignments of this rank, with the keys of `order`.
std::vector<Assignment> assignments_of(const RoutingDecision& decision, const std::string& order,
                                       const CapacityGroups& groups, const RoutingContext& context);

/// Counts of assignments [ranks, groups, columns, E], int64. Collective over the groups'
/// communicator; afterwards groups.first and groups.tokens are known.
at::Tensor count_assignments(const std::vector<Assignment>& mine, int64_t num_tokens,
                             int64_t num_experts, CapacityGroups& groups);

/// slots[local] = place if below the capacity of its group, else −1. By counts alone: position
/// order, an exclusive scan over choices, then ranks.
void seat_by_position(const at::Tensor& counts_NGCE, const CapacityGroups& groups,
                      const std::vector<int64_t>& capacity_G, const std::vector<Assignment>& mine,
                      int64_t* slots);
/// The same in any order, for the assignments of some experts. Collective over the groups'
/// communicator: their keys travel.
void seat_by_key(const CapacityGroups& groups, const std::vector<int64_t>& capacity_G,
                 const std::vector<Assignment>& mine, int64_t* slots);

/// Rows of all ranks in rank order, with tokens numbered over the micro-batch; `extra` [rows, X] in
/// fp64 travels beside them and comes back in the same order. Collective.
struct GatheredAssignments {
  std::vector<Assignment> rows;
  at::Tensor extra;
};
GatheredAssignments gather_assignments(const CapacityGroups& groups,
                                       const std::vector<Assignment>& mine,
                                       const at::Tensor& extra);

}  // namespace switchyard
