#include "core/moe/expert_bank.h"

#include <limits>

#include "core/base/error.h"
#include "core/kernels/expert_ffn.h"
#include "core/nn/init.h"

namespace switchyard {

ExpertBankImpl::ExpertBankImpl(int64_t hidden_dim, int64_t expert_dim, std::vector<int64_t> experts)
    : experts_(std::move(experts)) {
  const int64_t count = static_cast<int64_t>(experts_.size());
  gate_up_eGD = register_parameter("gate_up", torch::zeros({count, 2 * expert_dim, hidden_dim}));
  down_eDF = register_parameter("down", torch::zeros({count, hidden_dim, expert_dim}));
}

at::Tensor ExpertBankImpl::forward(const Dispatched& dispatched) {
  const ExpertRows rows{dispatched.row_token_R, dispatched.row_weight_R, dispatched.offsets_e};
  const ExpertWeights weights{gate_up_eGD, down_eDF, /*accumulate_into_grad=*/true};
  return expert_ffn(dispatched.x_UD, rows, weights);
}

ExpertWork ExpertBankImpl::work(const Dispatched& dispatched, int64_t num_experts,
                                bool measure_outputs) const {
  const torch::NoGradGuard no_grad;
  ExpertWork work;
  const at::Tensor& x_UD = dispatched.x_UD;
  const auto integers = at::TensorOptions().dtype(at::kLong).device(x_UD.device());
  at::Tensor served_U = at::zeros({x_UD.size(0)}, integers);
  work.received = served_U.index_fill_(0, dispatched.row_token_R, 1).sum();

  std::vector<int64_t> computed(static_cast<size_t>(num_experts), 0);
  for (size_t slot = 0; slot < experts_.size(); ++slot)
    computed[static_cast<size_t>(experts_[slot])] =
        dispatched.offsets_e[slot + 1] - dispatched.offsets_e[slot];
  work.computed_E = at::tensor(computed, at::kLong).to(x_UD.device(), /*non_blocking=*/true);
  if (!measure_outputs) return work;

  // Each row as a token of its own with weight 1: the experts' outputs before they are mixed.
  const int64_t R = dispatched.row_token_R.size(0);
  const ExpertRows rows{at::arange(R, integers), at::ones_like(dispatched.row_weight_R),
                        dispatched.offsets_e};
  const at::Tensor y_RD =
      expert_ffn(x_UD.index_select(0, dispatched.row_token_R), rows, {gate_up_eGD, down_eDF});
  const at::Tensor mean_square_R = y_RD.to(at::kDouble).square().mean(1);
  work.mean_square_sum_E = at::zeros({num_experts}, mean_square_R.options());
  for (size_t slot = 0; slot < experts_.size(); ++slot) {
    const int64_t first = dispatched.offsets_e[slot];
    work.mean_square_sum_E[experts_[slot]] =
        mean_square_R.narrow(0, first, dispatched.offsets_e[slot + 1] - first).sum();
  }
  return work;
}

at::Tensor ExpertBankImpl::weight_norms_E(int64_t num_experts) const {
  const torch::NoGradGuard no_grad;
  const at::Tensor squares_e = gate_up_eGD.to(at::kDouble).square().sum({1, 2}) +
                               down_eDF.to(at::kDouble).square().sum({1, 2});
  at::Tensor norms_E =
      at::full({num_experts}, -std::numeric_limits<double>::infinity(), squares_e.options());
  for (size_t slot = 0; slot < experts_.size(); ++slot)
    norms_E[experts_[slot]] = squares_e[static_cast<int64_t>(slot)].sqrt();
  return norms_E;
}

void ExpertBankImpl::initialize(uint64_t seed, const std::string& prefix, const WeightInit& init) {
  torch::NoGradGuard no_grad;
  for (size_t slot = 0; slot < experts_.size(); ++slot) {
    const std::string name = fmt::format("{}.{}", prefix, experts_[slot]);
    const int64_t i = static_cast<int64_t>(slot);
    init_weight(gate_up_eGD.select(0, i), seed, name + ".gate_up", init);
    init_weight(down_eDF.select(0, i), seed, name + ".down", init);
  }
}

}  // namespace switchyard
