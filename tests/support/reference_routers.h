#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/base/counter_rng.h"
#include "core/moe/options.h"
#include "core/moe/records.h"

// The oracle's routers beside the plain top-k ones: one token or one batch at a time, in loops.
namespace switchyard::reference {

/// A token's experts in choice order, with scalar weights.
struct Picked {
  std::vector<int64_t> experts;
  std::vector<torch::Tensor> weights;
};

struct TokenInputs {
  torch::Tensor logits, noise_logits;
  uint64_t token = 0;  // global
};

inline std::vector<int64_t> best(const std::vector<double>& keys, int64_t k) {
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < k; ++i) {
    int64_t top = -1;
    for (int64_t e = 0; e < static_cast<int64_t>(keys.size()); ++e) {
      const bool taken = std::find(chosen.begin(), chosen.end(), e) != chosen.end();
      if (!taken && (top < 0 || keys[e] > keys[top])) top = e;
    }
    chosen.push_back(top);
  }
  return chosen;
}

inline torch::Tensor softmax(const torch::Tensor& logits_E) {
  const auto e = torch::exp(logits_E - logits_E.max().detach());
  return e / e.sum();
}

inline std::vector<double> numbers(const torch::Tensor& values_E) {
  std::vector<double> result;
  for (int64_t e = 0; e < values_E.size(0); ++e) result.push_back(values_E[e].item<double>());
  return result;
}

inline Picked weighted(const std::vector<int64_t>& experts, const torch::Tensor& values_E,
                       bool normalized) {
  Picked picked{experts, {}};
  auto sum = torch::zeros({}, values_E.options());
  for (const int64_t e : experts) sum = sum + values_E[e];
  for (const int64_t e : experts)
    picked.weights.push_back(normalized ? values_E[e] / sum : values_E[e]);
  return picked;
}

// Element `e` of a draw in training, as u + 2⁻⁵⁴.
inline double drawn(const RoutingContext& context, uint64_t stream, uint64_t token, uint64_t e) {
  return uniform({context.seed, stream, static_cast<uint64_t>(context.step),
                  static_cast<uint64_t>(context.layer), token, e}) +
         0x1.0p-54;
}

inline Picked pick_noisy(const MoEOptions& moe, const TokenInputs& token,
                         const RoutingContext& context) {
  auto h = token.logits;
  if (context.training) {
    std::vector<double> normal;
    for (uint64_t e = 0; e < static_cast<uint64_t>(moe.num_experts); ++e)
      normal.push_back(inverse_normal_cdf(drawn(context, 5, token.token, e)));
    const auto sigma = torch::log(1 + torch::exp(token.noise_logits)) + 1e-2;
    h = h + sigma * torch::tensor(normal, torch::kDouble);
  }
  return weighted(best(numbers(h), moe.top_k), torch::exp(h - h.max().detach()), true);
}

inline Picked pick_gumbel(const MoEOptions& moe, const TokenInputs& token,
                          const RoutingContext& context) {
  auto z = token.logits;
  if (context.training) {
    std::vector<double> noise;
    for (uint64_t e = 0; e < static_cast<uint64_t>(moe.num_experts); ++e)
      noise.push_back(-std::log(-std::log(drawn(context, 6, token.token, e))));
    z = z + torch::tensor(noise, torch::kDouble);
  }
  z = z / moe.router.temperature;
  const auto p = softmax(token.logits).detach(), q = softmax(z);
  Picked picked = weighted(best(numbers(z), moe.top_k), p, moe.top_k > 1);
  for (size_t k = 0; k < picked.experts.size(); ++k)
    picked.weights[k] = picked.weights[k] + q[picked.experts[k]] - q[picked.experts[k]].detach();
  return picked;
}

inline Picked pick_hierarchical(const MoEOptions& moe, const TokenInputs& token) {
  const int64_t a = moe.router.branches[0], b = moe.router.branches[1];
  const auto groups = softmax(token.logits.slice(0, 0, a));
  std::vector<torch::Tensor> parts;
  std::vector<double> keys(static_cast<size_t>(a * b), -1.0);
  const auto kept = best(numbers(groups), moe.router.kept[0]);
  for (int64_t g = 0; g < a; ++g) {
    const auto inside = softmax(token.logits.slice(0, a + g * b, a + (g + 1) * b));
    parts.push_back(groups[g] * inside);
    if (std::find(kept.begin(), kept.end(), g) == kept.end()) continue;
    for (const int64_t e : best(numbers(inside), moe.router.kept[1]))
      keys[g * b + e] = parts.back()[e].item<double>();
  }
  return weighted(best(keys, moe.top_k), torch::cat(parts), true);
}

inline Picked pick_relu(const TokenInputs& token) {
  const auto s = token.logits * token.logits.gt(0);
  const auto keys = numbers(s);
  const int64_t positive = std::count_if(keys.begin(), keys.end(), [](double x) { return x > 0; });
  return weighted(best(keys, positive), s, false);
}

inline bool has_own_rule(const std::string& type) {
  return type == "noisy_top_k" || type == "gumbel" || type == "hierarchical" || type == "relu" ||
         type == "soft";
}

inline Picked pick(const MoEOptions& moe, const TokenInputs& token, const RoutingContext& context) {
  const std::string& type = moe.router.type;
  if (type == "noisy_top_k") return pick_noisy(moe, token, context);
  if (type == "gumbel") return pick_gumbel(moe, token, context);
  if (type == "hierarchical") return pick_hierarchical(moe, token);
  if (type == "relu") return pick_relu(token);
  const auto p = softmax(token.logits);
  return weighted(best(numbers(p), moe.num_experts), p, false);
}

}  // namespace switchyard::reference
