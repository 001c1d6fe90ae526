#include "parallel/expert/route_plan.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/base/error.h"

namespace switchyard {
namespace {

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  at::Tensor result = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), result.mutable_data_ptr<int64_t>());
  return result;
}

}  // namespace

SendPlan plan_send(const at::Tensor& expert_ids_TK, const ExpertPlacement& placement) {
  const int64_t T = expert_ids_TK.size(0), K = expert_ids_TK.size(1);
  const int64_t N = placement.num_ranks(), C = 1 + placement.most_slots();
  const int64_t* ids = expert_ids_TK.const_data_ptr<int64_t>();

  SendPlan plan;
  plan.counts_NC = at::zeros({N, C}, at::kLong);
  int64_t* counts = plan.counts_NC.mutable_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> tokens_to(static_cast<size_t>(N));
  std::vector<int64_t> position(static_cast<size_t>(T * K), -1);
  for (int64_t i = 0; i < T * K; ++i) {
    if (ids[i] < 0) continue;
    SWITCHYARD_CHECK(ids[i] < placement.num_experts(), "expert {} of {}", ids[i],
                     placement.num_experts());
    const int64_t rank = placement.rank_of(ids[i]);
    auto& tokens = tokens_to[static_cast<size_t>(rank)];
    if (tokens.empty() || tokens.back() != i / K) tokens.push_back(i / K);
    position[static_cast<size_t>(i)] = static_cast<int64_t>(tokens.size()) - 1;
    ++counts[rank * C + 1 + placement.slot_of(ids[i])];
  }

  std::vector<int64_t> send_token, next_row(static_cast<size_t>(placement.num_experts()));
  int64_t num_rows = 0;
  for (int64_t rank = 0; rank < N; ++rank) {
    const auto& tokens = tokens_to[static_cast<size_t>(rank)];
    send_token.insert(send_token.end(), tokens.begin(), tokens.end());
    counts[rank * C] = static_cast<int64_t>(tokens.size());
    plan.tokens_N.push_back(static_cast<int64_t>(tokens.size()));
    const int64_t first_row = num_rows;
    for (const int64_t expert : placement.experts_of(static_cast<int>(rank))) {
      next_row[static_cast<size_t>(expert)] = num_rows;
      num_rows += counts[rank * C + 1 + placement.slot_of(expert)];
    }
    plan.rows_N.push_back(num_rows - first_row);
  }
  plan.send_token_S = to_tensor(send_token);
  plan.row_assignment_P = at::empty({num_rows}, at::kLong);
  plan.row_position_P = at::empty({num_rows}, at::kLong);
  int64_t* row_assignment = plan.row_assignment_P.mutable_data_ptr<int64_t>();
  int64_t* row_position = plan.row_position_P.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < T * K; ++i) {
    if (ids[i] < 0) continue;
    const int64_t row = next_row[static_cast<size_t>(ids[i])]++;
    row_assignment[row] = i;
    row_position[row] = position[static_cast<size_t>(i)];
  }
  return plan;
}

ReceivePlan plan_receive(const at::Tensor& counts_NC, int64_t num_slots) {
  const int64_t N = counts_NC.size(0), C = counts_NC.size(1);
  const int64_t* counts = counts_NC.const_data_ptr<int64_t>();
  ReceivePlan plan;
  std::vector<int64_t> arrival_of;  // [N, num_slots]: where a source's rows of a slot begin
  int64_t num_rows = 0;
  for (int64_t source = 0; source < N; ++source) {
    const int64_t first_row = num_rows;
    for (int64_t slot = 0; slot < num_slots; ++slot) {
      arrival_of.push_back(num_rows);
      num_rows += counts[source * C + 1 + slot];
    }
    plan.tokens_N.push_back(counts[source * C]);
    plan.rows_N.push_back(num_rows - first_row);
  }
  plan.arrival_R = at::empty({num_rows}, at::kLong);
  int64_t* arrival = plan.arrival_R.mutable_data_ptr<int64_t>();
  int64_t row = 0;
  plan.offsets_e.push_back(0);
  for (int64_t slot = 0; slot < num_slots; ++slot) {
    for (int64_t source = 0; source < N; ++source) {
      const int64_t begin = arrival_of[static_cast<size_t>(source * num_slots + slot)];
      for (int64_t i = 0; i < counts[source * C + 1 + slot]; ++i) arrival[row++] = begin + i;
    }
    plan.offsets_e.push_back(row);
  }
  return plan;
}

at::Tensor place_tokens(const ReceivePlan& plan, const at::Tensor& position_R) {
  const int64_t R = position_R.size(0);
  const int64_t* position = position_R.const_data_ptr<int64_t>();
  std::vector<int64_t> token_of(static_cast<size_t>(R));  // by arrival
  int64_t row = 0, first_token = 0;
  for (size_t source = 0; source < plan.rows_N.size(); ++source) {
    for (int64_t i = 0; i < plan.rows_N[source]; ++i, ++row)
      token_of[static_cast<size_t>(row)] = first_token + position[row];
    first_token += plan.tokens_N[source];
  }
  at::Tensor row_token_R = at::empty({R}, at::kLong);
  const int64_t* arrival = plan.arrival_R.const_data_ptr<int64_t>();
  int64_t* row_token = row_token_R.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < R; ++i) row_token[i] = token_of[static_cast<size_t>(arrival[i])];
  return row_token_R;
}

}  // namespace switchyard
