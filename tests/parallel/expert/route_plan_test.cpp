#include "parallel/expert/route_plan.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>

using namespace switchyard;
using Numbers = std::vector<int64_t>;

namespace {

Numbers numbers(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous().view({-1});
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

}  // namespace

TEST_CASE("a send plan lists each token once per destination and each assignment once") {
  // Experts 0, 1 on rank 0; expert 2 on rank 1; tokens 0..3 with two choices each.
  const auto placement = ExpertPlacement(3, 2);
  const at::Tensor ids = at::tensor({1, 0, 2, 0, -1, -1, 2, 1}, at::kLong).view({4, 2});
  const SendPlan plan = plan_send(ids, placement);
  CHECK(plan.tokens_N == Numbers{3, 2});
  CHECK(plan.rows_N == Numbers{4, 2});
  CHECK(numbers(plan.send_token_S) == Numbers{0, 1, 3, 1, 3});
  CHECK(numbers(plan.counts_NC) == Numbers{3, 2, 2, 2, 2, 0});
  CHECK(numbers(plan.row_assignment_P) == Numbers{1, 3, 0, 7, 2, 6});
  CHECK(numbers(plan.row_position_P) == Numbers{0, 1, 0, 2, 0, 1});
}

TEST_CASE("a receive plan orders rows by slot, then by source") {
  // Two slots here; source 0 sends 2 tokens with 1 and 2 rows, source 1 sends 1 token with 1 and 1.
  const at::Tensor counts = at::tensor({2, 1, 2, 1, 1, 1}, at::kLong).view({2, 3});
  const ReceivePlan plan = plan_receive(counts, 2);
  CHECK(plan.tokens_N == Numbers{2, 1});
  CHECK(plan.rows_N == Numbers{3, 2});
  CHECK(plan.offsets_e == Numbers{0, 2, 5});
  CHECK(numbers(plan.arrival_R) == Numbers{0, 3, 1, 2, 4});
  const at::Tensor tokens = place_tokens(plan, at::tensor({1, 0, 1, 0, 0}, at::kLong));
  CHECK(numbers(tokens) == Numbers{1, 2, 0, 1, 2});
}

TEST_CASE("plans of nothing are empty") {
  const auto placement = ExpertPlacement(3, 2);
  const SendPlan send = plan_send(at::zeros({0, 2}, at::kLong), placement);
  CHECK(send.tokens_N == Numbers{0, 0});
  CHECK(send.send_token_S.numel() == 0);
  const ReceivePlan receive = plan_receive(at::zeros({2, 3}, at::kLong), 0);
  CHECK(receive.offsets_e == Numbers{0});
  CHECK(receive.arrival_R.numel() == 0);
}
