#include "core/moe/expert_bank.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace switchyard {
namespace {

/// Experts 3 and 1 of four, width 2 → 3. Four tokens are here; expert 3 has tokens 0 and 2, expert
/// 1 token 2; tokens 1 and 3 are served by nobody here.
struct Case {
  ExpertBank bank{2, 3, std::vector<int64_t>{3, 1}};
  Dispatched dispatched;
  Case() {
    bank->to(torch::kDouble);
    bank->initialize(5, "experts", {.std = 0.8});
    dispatched.x_UD = torch::tensor({1.0, 2.0, -1.0, 0.5, 0.25, -2.0, 3.0, 1.0}).view({4, 2});
    dispatched.x_UD = dispatched.x_UD.to(torch::kDouble);
    dispatched.row_token_R = torch::tensor({0, 2, 2}, torch::kLong);
    dispatched.row_weight_R = torch::tensor({0.5, 0.25, 0.75}, torch::kDouble);
    dispatched.offsets_e = {0, 2, 3};
  }
  /// Mean square of what the expert in a slot makes of a token.
  double mean_square(int64_t slot, int64_t token) const {
    const auto h = bank->gate_up_eGD[slot].matmul(dispatched.x_UD[token]);
    const auto gate = h.slice(0, 0, 3), up = h.slice(0, 3);
    const auto y = bank->down_eDF[slot].matmul(gate * torch::sigmoid(gate) * up);
    return y.square().mean().item<double>();
  }
};

}  // namespace

TEST_CASE("the work of a bank is counted by global expert", "[expert_bank]") {
  const Case c;
  const ExpertWork work = c.bank->work(c.dispatched, 4, false);
  CHECK(work.received.item<int64_t>() == 2);
  CHECK(work.computed_E.equal(torch::tensor({0, 1, 0, 2}, torch::kLong)));
  CHECK_FALSE(work.mean_square_sum_E.defined());
}

TEST_CASE("outputs are measured before the combine weight and without a gradient",
          "[expert_bank]") {
  const Case c;
  const ExpertWork work = c.bank->work(c.dispatched, 4, true);
  CHECK_FALSE(work.mean_square_sum_E.requires_grad());
  CHECK(work.mean_square_sum_E[3].item<double>() ==
        Approx(c.mean_square(0, 0) + c.mean_square(0, 2)).epsilon(1e-12));
  CHECK(work.mean_square_sum_E[1].item<double>() == Approx(c.mean_square(1, 2)).epsilon(1e-12));
  CHECK(work.mean_square_sum_E[0].item<double>() == 0);
}

TEST_CASE("traps: a zero-token rank has done no work", "[expert_bank]") {
  Case c;
  c.dispatched.x_UD = c.dispatched.x_UD.narrow(0, 0, 0);
  c.dispatched.row_token_R = c.dispatched.row_token_R.narrow(0, 0, 0);
  c.dispatched.row_weight_R = c.dispatched.row_weight_R.narrow(0, 0, 0);
  c.dispatched.offsets_e = {0, 0, 0};
  const ExpertWork work = c.bank->work(c.dispatched, 4, true);
  CHECK(work.received.item<int64_t>() == 0);
  CHECK(work.computed_E.sum().item<int64_t>() == 0);
  CHECK(work.mean_square_sum_E.sum().item<double>() == 0);
}

TEST_CASE("the norm of an expert is that of both its matrices", "[expert_bank]") {
  const Case c;
  const auto norms = c.bank->weight_norms_E(4);
  for (const auto& [slot, expert] : {std::pair<int64_t, int64_t>{0, 3}, {1, 1}}) {
    const auto squares =
        c.bank->gate_up_eGD[slot].square().sum() + c.bank->down_eDF[slot].square().sum();
    CHECK(norms[expert].item<double>() == Approx(std::sqrt(squares.item<double>())));
  }
  CHECK(norms[0].item<double>() == -std::numeric_limits<double>::infinity());
  CHECK_FALSE(norms.requires_grad());
}

}  // namespace switchyard
