#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/mesh/expert_placement.h"

namespace switchyard {

// N ranks of the expert group, S tokens sent, P rows (assignments) sent; U, R as in
// core/moe/records.h.

/// What one rank sends: each token once per destination, and a row per assignment.
struct SendPlan {
  std::vector<int64_t> tokens_N;  ///< tokens per destination
  std::vector<int64_t> rows_N;    ///< rows per destination
  at::Tensor counts_NC;           ///< int64 [N, 1 + most slots]: tokens, then rows per slot
  at::Tensor send_token_S;        ///< int64, by (destination, token)
  at::Tensor row_assignment_P;    ///< int64, token × K + choice, by (destination, slot, token)
  at::Tensor row_position_P;      ///< int64, place of the row's token among those sent there
};

/// O(T·K + E). `expert_ids_TK` is an int64 tensor on the CPU in which refused assignments are −1.
SendPlan plan_send(const at::Tensor& expert_ids_TK, const ExpertPlacement& placement);

/// What one rank receives. Rows arrive by (source, slot, token) and are used by (slot, source,
/// token), which is (expert, global token).
struct ReceivePlan {
  std::vector<int64_t> tokens_N;   ///< tokens per source
  std::vector<int64_t> rows_N;     ///< rows per source
  std::vector<int64_t> offsets_e;  ///< e + 1 entries, rows of each slot
  at::Tensor arrival_R;            ///< int64, the place of arrival of each row as used
};

/// `counts_NC`: row r is what rank r said in its SendPlan about this rank, which holds `num_slots`
/// experts.
ReceivePlan plan_receive(const at::Tensor& counts_NC, int64_t num_slots);

/// row_token_R from the senders' row_position, in order of arrival.
at::Tensor place_tokens(const ReceivePlan& plan, const at::Tensor& position_R);

}  // namespace switchyard
