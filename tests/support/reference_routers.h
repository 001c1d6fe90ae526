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

inline Picked pick_hash(const MoEOptions& moe, int64_t token, const RoutingContext& context,
                        const torch::Tensor& counts_V) {
  const int64_t V = counts_V.size(0), L = context.sequence_length;
  const auto id_of = [&](int64_t t) { return context.token_ids_T[t].item<int64_t>(); };
  std::vector<int64_t> experts;
  if (moe.router.table == "balanced") {
    std::vector<double> load(static_cast<size_t>(moe.num_experts), 0.0);
    for (const int64_t id : best(numbers(counts_V), V)) {
      std::vector<double> room;
      for (const double used : load) room.push_back(-used);
      experts = best(room, moe.top_k);
      if (id == id_of(token)) break;
      for (const int64_t e : experts) load[e] += counts_V[id].item<double>();
    }
  } else {
    const auto id = static_cast<uint64_t>(id_of(token)), E = static_cast<uint64_t>(moe.num_experts);
    const auto previous = static_cast<uint64_t>(token % L == 0 ? V : id_of(token - 1));
    for (uint64_t j = 0; static_cast<int64_t>(experts.size()) < moe.top_k; ++j) {
      const uint64_t h = moe.router.table == "bigram" ? hash({context.seed, 43, previous, id, j})
                                                      : hash({context.seed, 41, id, j});
      const auto e = static_cast<int64_t>(h % E);
      if (std::find(experts.begin(), experts.end(), e) == experts.end()) experts.push_back(e);
    }
  }
  const auto share = torch::full({moe.num_experts}, 1.0 / moe.top_k, torch::kDouble);
  return weighted(experts, share, false);
}

inline std::vector<Picked> pick_expert_choice(const MoEOptions& moe,
                                              const std::vector<torch::Tensor>& logits,
                                              const RoutingContext& context) {
  const int64_t T = static_cast<int64_t>(logits.size()), E = moe.num_experts;
  const int64_t pool = moe.router.pool == "sequence" ? context.sequence_length
                       : moe.router.pool == "tokens" ? moe.router.pool_tokens
                                                     : T;
  std::vector<torch::Tensor> s;
  std::vector<std::vector<double>> keys(logits.size(), std::vector<double>(E, -1.0));
  for (const auto& row : logits) s.push_back(softmax(row));
  for (int64_t first = 0; first < T; first += pool) {
    const int64_t size = std::min(pool, T - first);
    for (int64_t e = 0; e < E; ++e) {
      std::vector<double> column;
      for (int64_t t = first; t < first + size; ++t) column.push_back(s[t][e].item<double>());
      const auto n = static_cast<int64_t>(
          std::ceil(static_cast<double>(moe.top_k * size) / static_cast<double>(E)));
      for (const int64_t t : best(column, n)) keys[first + t][e] = column[t];
    }
  }
  std::vector<Picked> result;
  for (int64_t t = 0; t < T; ++t) {
    const int64_t taken =
        std::count_if(keys[t].begin(), keys[t].end(), [](double key) { return key >= 0; });
    result.push_back(weighted(best(keys[t], taken), s[t], false));
  }
  return result;
}

inline std::vector<Picked> pick_sinkhorn(const MoEOptions& moe,
                                         const std::vector<torch::Tensor>& logits) {
  const size_t T = logits.size(), E = static_cast<size_t>(moe.num_experts);
  std::vector<std::vector<double>> kappa;
  for (const auto& row : logits) kappa.push_back(numbers(torch::exp(row / moe.router.temperature)));
  std::vector<double> u(T, 1.0), v(E, 1.0);
  for (int64_t round = 0; round < moe.router.rounds; ++round) {
    for (size_t e = 0; e < E; ++e) {
      double sum = 0;
      for (size_t t = 0; t < T; ++t) sum += u[t] * kappa[t][e];
      v[e] = static_cast<double>(T) / static_cast<double>(E) / sum;
    }
    for (size_t t = 0; t < T; ++t) {
      double sum = 0;
      for (size_t e = 0; e < E; ++e) sum += kappa[t][e] * v[e];
      u[t] = 1 / sum;
    }
  }
  std::vector<Picked> result;
  for (size_t t = 0; t < T; ++t) {
    std::vector<double> plan;
    for (size_t e = 0; e < E; ++e) plan.push_back(u[t] * kappa[t][e] * v[e]);
    const auto gates = moe.top_k == 1 ? torch::sigmoid(logits[t]) : softmax(logits[t]);
    result.push_back(weighted(best(plan, moe.top_k), gates, false));
  }
  return result;
}

// From any balanced assignment, exchanges along cycles of experts while the sum of logits grows.
// Node E closes a cycle through an expert that gives up its extra token and one that gets it.
inline std::vector<Picked> pick_base(const MoEOptions& moe,
                                     const std::vector<torch::Tensor>& logits) {
  const int64_t T = static_cast<int64_t>(logits.size()), E = moe.num_experts;
  std::vector<std::vector<double>> s;
  std::vector<int64_t> at, load(static_cast<size_t>(E), 0);
  for (int64_t t = 0; t < T; ++t) {
    s.push_back(numbers(logits[t]));
    at.push_back(t % E);
    ++load[t % E];
  }
  while (true) {
    const size_t N = static_cast<size_t>(E) + 1;
    std::vector<std::vector<double>> gain(N, std::vector<double>(N, -1e300));
    std::vector<std::vector<int64_t>> mover(N, std::vector<int64_t>(N, -1));
    for (int64_t t = 0; t < T; ++t)
      for (int64_t f = 0; f < E; ++f)
        if (f != at[t] && s[t][f] - s[t][at[t]] > gain[at[t]][f]) {
          gain[at[t]][f] = s[t][f] - s[t][at[t]];
          mover[at[t]][f] = t;
        }
    for (int64_t e = 0; e < E; ++e) (load[e] > T / E ? gain[E][e] : gain[e][E]) = 0;
    // Longest walks of up to N edges (Bellman-Ford); a node that still improves leads to a cycle.
    std::vector<double> best_gain(N, 0);
    std::vector<int64_t> before(N, -1);
    int64_t improved = -1;
    for (size_t pass = 0; pass < N; ++pass) {
      improved = -1;
      for (size_t a = 0; a < N; ++a)
        for (size_t b = 0; b < N; ++b)
          if (a != b && best_gain[a] + gain[a][b] > best_gain[b] + 1e-12) {
            best_gain[b] = best_gain[a] + gain[a][b];
            improved = static_cast<int64_t>(b);
            before[b] = static_cast<int64_t>(a);
          }
    }
    if (improved < 0) break;
    int64_t node = improved;
    for (size_t i = 0; i < N; ++i) node = before[node];
    const int64_t first = node;
    std::vector<std::pair<int64_t, int64_t>> moves;  // token, expert
    do {
      const int64_t from = before[node];
      if (from < E && node < E) moves.emplace_back(mover[from][node], node);
      node = from;
    } while (node != first);
    for (const auto& [token, expert] : moves) {
      --load[at[token]];
      ++load[expert];
      at[token] = expert;
    }
  }
  std::vector<Picked> result;
  for (int64_t t = 0; t < T; ++t)
    result.push_back({{at[t]}, {1 / (1 + torch::exp(-logits[t][at[t]]))}});
  return result;
}

inline bool assigns_batch(const std::string& type, bool training) {
  return type == "expert_choice" || (training && (type == "base" || type == "sinkhorn"));
}

inline std::vector<Picked> pick_batch(const MoEOptions& moe,
                                      const std::vector<torch::Tensor>& logits,
                                      const RoutingContext& context) {
  if (moe.router.type == "base") return pick_base(moe, logits);
  if (moe.router.type == "sinkhorn") return pick_sinkhorn(moe, logits);
  return pick_expert_choice(moe, logits, context);
}

inline bool has_own_rule(const std::string& type) {
  return type == "noisy_top_k" || type == "gumbel" || type == "hierarchical" || type == "relu" ||
         type == "soft" || type == "base";
}

inline Picked pick(const MoEOptions& moe, const TokenInputs& token, const RoutingContext& context) {
  const std::string& type = moe.router.type;
  if (type == "noisy_top_k") return pick_noisy(moe, token, context);
  if (type == "gumbel") return pick_gumbel(moe, token, context);
  if (type == "hierarchical") return pick_hierarchical(moe, token);
  if (type == "relu") return pick_relu(token);
  if (type == "base")
    return weighted(best(numbers(token.logits), 1), torch::sigmoid(token.logits), false);
  const auto p = softmax(token.logits);
  return weighted(best(numbers(p), moe.num_experts), p, false);
}

}  // namespace switchyard::reference
