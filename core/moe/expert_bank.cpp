#include "core/moe/expert_bank.h"

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

void ExpertBankImpl::initialize(uint64_t seed, const std::string& prefix, double std) {
  torch::NoGradGuard no_grad;
  for (size_t slot = 0; slot < experts_.size(); ++slot) {
    const std::string name = fmt::format("{}.{}", prefix, experts_[slot]);
    const int64_t i = static_cast<int64_t>(slot);
    init_normal(gate_up_eGD.select(0, i), seed, name + ".gate_up", std);
    init_normal(down_eDF.select(0, i), seed, name + ".down", std);
  }
}

}  // namespace switchyard
