#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/moe/routers/router.h"

// Small words for tests that decide a few tokens by hand.
namespace switchyard::test {

inline MoEOptions router_options(const std::string& type, int64_t experts, int64_t k) {
  MoEOptions moe;
  moe.num_experts = experts;
  moe.top_k = k;
  moe.router.type = type;
  return moe;
}

inline const std::vector<std::string>& router_types() {
  static const std::vector<std::string> types = {
      "switch",      "gshard",        "noisy_top_k", "mixtral", "top_k", "deepseek_moe",
      "deepseek_v2", "deepseek_v3",   "relu",        "gumbel",  "soft",  "hierarchical",
      "hash",        "expert_choice", "base",        "sinkhorn"};
  return types;
}

/// Valid options of any router for an even number of experts: K is `k` or near it, hierarchical has
/// two groups, deepseek_v2 and _v3 keep one group of two where K fits in.
inline MoEOptions valid_options(const std::string& type, int64_t experts, int64_t k) {
  MoEOptions moe = router_options(type, experts, k);
  if (type == "switch" || type == "base") moe.top_k = 1;
  if (type == "gshard") moe.top_k = 2;
  const bool normalised = type == "mixtral" || type == "noisy_top_k" || type == "deepseek_v3";
  if (k == 1 && normalised) moe.top_k = 2;
  if (type == "hierarchical") {
    const bool both = k % 2 == 0 || experts < 4;
    const int64_t inside =
        both ? std::max<int64_t>(1, k / 2) : std::clamp<int64_t>(k, 2, experts / 2);
    moe.router.branches = {2, experts / 2};
    moe.router.kept = {both ? 2 : 1, inside};
    moe.top_k = moe.router.kept[0] * inside;
  }
  if ((type == "deepseek_v2" || type == "deepseek_v3") && moe.top_k <= experts / 2)
    moe.router.groups = 2;
  return moe;
}

/// One token's logits whose softmax is `probabilities`.
inline torch::Tensor logs(const std::vector<double>& probabilities) {
  return torch::log(torch::tensor(probabilities, torch::kDouble)).reshape({1, -1});
}

/// fp64, normal.
inline torch::Tensor random_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn({rows, columns}, generator, torch::kDouble);
}

/// All expert ids, row by row.
inline std::vector<int64_t> ids(const RoutingDecision& decision) {
  const auto flat = decision.expert_ids_TK.reshape({-1}).contiguous();
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}

inline double weight(const RoutingDecision& decision, int64_t token, int64_t column) {
  return decision.weights_TK[token][column].item<double>();
}

inline RoutingDecision decide(const MoEOptions& moe, const torch::Tensor& logits,
                              const torch::Tensor& bias = {}, const RoutingContext& context = {}) {
  return make_router(moe)->decide({logits, {}, {}}, bias, context);
}

inline RoutingContext training_context() {
  RoutingContext context;
  context.seed = 5;
  context.step = 3;
  context.layer = 1;
  context.training = true;
  return context;
}

}  // namespace switchyard::test
