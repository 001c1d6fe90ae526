#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/counter_rng.h"
#include "core/moe/options.h"
#include "core/moe/records.h"
#include "tests/support/reference_routers.h"

// The oracle: an MoE layer as loops over tokens, over the whole batch in one process. It shares no
// code with core/moe; gradients come from autograd over elementary operations.
namespace switchyard::reference {

struct Weights {
  torch::Tensor router_ED, bias_E;              // bias may be undefined
  std::vector<torch::Tensor> gate_up, down;     // one [2F, D] and one [D, F] per expert
  torch::Tensor token_counts_V;                 // hash
  std::map<std::string, torch::Tensor> beside;  // all other parameters, as the layer names them
};

struct Choice {
  int64_t token, column, expert;
  torch::Tensor weight;  // scalar
  bool kept = true;
};

// What a token was chosen by.
struct Scored {
  std::vector<double> keys;  // s + b
  torch::Tensor s_E, logits_E;
};

struct Result {
  torch::Tensor y_TD;
  std::vector<std::vector<Choice>> choices;  // per token, in choice order
  std::vector<int64_t> counts;               // selected, per expert
};

inline torch::Tensor ffn(const torch::Tensor& gate_up, const torch::Tensor& down,
                         const torch::Tensor& x_D) {
  const int64_t F = gate_up.size(0) / 2;
  const auto h = gate_up.matmul(x_D);
  const auto gate = h.slice(0, 0, F), up = h.slice(0, F);
  return down.matmul(gate * torch::sigmoid(gate) * up);
}

inline torch::Tensor shared_experts(const Weights& w, const torch::Tensor& x_D) {
  const auto y_D = ffn(w.beside.at("shared.gate_up"), w.beside.at("shared.down"), x_D);
  const auto gate = w.beside.find("shared.gate");
  return gate == w.beside.end() ? y_D : y_D / (1 + torch::exp(-gate->second[0].dot(x_D)));
}

// What expert e makes of x: a feed-forward, in a latent width where there is one, or an expert that
// computes next to nothing.
inline torch::Tensor expert_output(const MoEOptions& moe, const Weights& w, int64_t e,
                                   const torch::Tensor& x_D) {
  const auto latent = w.beside.find("latent_down");
  if (e < moe.num_experts) {
    if (latent == w.beside.end()) return ffn(w.gate_up[e], w.down[e], x_D);
    return w.beside.at("latent_up")
        .matmul(ffn(w.gate_up[e], w.down[e], latent->second.matmul(x_D)));
  }
  e -= moe.num_experts;
  if (e < moe.zero_experts) return torch::zeros_like(x_D);
  e -= moe.zero_experts;
  if (e < moe.copy_experts) return x_D;
  e -= moe.copy_experts;
  const auto mixed = torch::exp(w.beside.at("zero_compute.mix")[e].matmul(x_D));
  return (mixed[0] * x_D + mixed[1] * w.beside.at("zero_compute.value")[e]) / mixed.sum();
}

inline int64_t routable(const MoEOptions& moe) {
  return moe.num_experts + moe.zero_experts + moe.copy_experts + moe.constant_experts;
}

inline torch::Tensor scores(const MoEOptions& moe, const torch::Tensor& logits_E) {
  const std::string& type = moe.router.type;
  std::string score = type == "deepseek_v3" ? "sigmoid"
                      : type == "top_k"     ? moe.router.score
                                            : "softmax";
  if (score == "sigmoid") return 1 / (1 + torch::exp(-logits_E));
  if (score == "sqrtsoftplus") return torch::sqrt(torch::log(1 + torch::exp(logits_E)));
  return softmax(logits_E);
}

inline std::vector<int64_t> select(const MoEOptions& moe, const std::vector<double>& keys) {
  const int64_t E = routable(moe), G = moe.router.groups, size = E / G;
  if (moe.router.kept_groups >= G) return best(keys, moe.top_k);
  const bool top_two = moe.router.type == "deepseek_v3" ||
                       (moe.router.type == "top_k" && moe.router.score != "softmax");
  std::vector<double> group_keys;
  for (int64_t g = 0; g < G; ++g) {
    std::vector<double> inside(keys.begin() + g * size, keys.begin() + (g + 1) * size);
    std::sort(inside.rbegin(), inside.rend());
    group_keys.push_back(top_two && size > 1 ? inside[0] + inside[1] : inside[0]);
  }
  const auto kept = best(group_keys, moe.router.kept_groups);
  std::vector<double> limited(keys.size(), -std::numeric_limits<double>::infinity());
  for (const int64_t g : kept)
    for (int64_t e = g * size; e < (g + 1) * size; ++e) limited[e] = keys[e];
  return best(limited, moe.top_k);
}

inline std::vector<Choice> as_choices(int64_t token, const Picked& picked) {
  std::vector<Choice> choices;
  for (size_t k = 0; k < picked.experts.size(); ++k)
    choices.push_back({token, static_cast<int64_t>(k), picked.experts[k], picked.weights[k]});
  return choices;
}

inline std::vector<Choice> choose(const MoEOptions& moe, const Weights& w, const torch::Tensor& x_D,
                                  int64_t token, const RoutingContext& context,
                                  Scored* scored = nullptr) {
  if (moe.router.type == "hash")
    return as_choices(token, pick_hash(moe, token, context, w.token_counts_V));
  auto input_D = x_D;
  const uint64_t step = static_cast<uint64_t>(context.step),
                 layer = static_cast<uint64_t>(context.layer);
  const uint64_t global = static_cast<uint64_t>(context.first_token + token);
  if (context.training && moe.router.jitter > 0) {
    std::vector<double> noise;
    for (uint64_t d = 0; d < static_cast<uint64_t>(x_D.size(0)); ++d)
      noise.push_back(1 - moe.router.jitter +
                      2 * moe.router.jitter * uniform({context.seed, 3, step, layer, global, d}));
    input_D = x_D * torch::tensor(noise, x_D.options().requires_grad(false));
  }
  const auto logits_E = w.router_ED.matmul(input_D);
  if (has_own_rule(moe.router.type)) {
    TokenInputs inputs{logits_E, {}, global};
    const auto noise = w.beside.find("router_noise");
    if (noise != w.beside.end()) inputs.noise_logits = noise->second.matmul(input_D);
    return as_choices(token, pick(moe, inputs, context));
  }
  const auto s_E = scores(moe, logits_E);
  std::vector<double> keys;
  for (int64_t e = 0; e < routable(moe); ++e)
    keys.push_back(s_E[e].item<double>() + (w.bias_E.defined() ? w.bias_E[e].item<double>() : 0.0));
  const auto ids = select(moe, keys);
  if (scored) *scored = {keys, s_E, logits_E};

  std::vector<Choice> choices;
  auto sum = torch::zeros({}, s_E.options()), sum_exp = torch::zeros({}, s_E.options());
  for (const int64_t e : ids) {
    sum = sum + s_E[e];
    sum_exp = sum_exp + torch::exp(logits_E[e]);
  }
  const std::string& type = moe.router.type;
  const bool normalized = type == "gshard" || type == "deepseek_v3" ||
                          (type == "top_k" && moe.router.normalize.value_or(moe.top_k > 1));
  for (int64_t k = 0; k < moe.top_k; ++k) {
    auto weight = s_E[ids[k]];
    if (normalized) weight = weight / sum;
    if (type == "mixtral") weight = torch::exp(logits_E[ids[k]]) / sum_exp;
    choices.push_back({token, k, ids[k], weight});
  }
  if (type == "gshard" && context.training &&
      2 * choices[1].weight.item<double>() <= uniform({context.seed, 4, step, layer, global, 0}))
    choices.pop_back();
  return choices;
}

// Overflow next_choice for the refused of one group, in filling order.
inline void place_refused(const std::vector<Choice*>& group, const std::vector<Scored>& scored,
                          int64_t capacity, Result& result) {
  std::vector<int64_t> used(scored.front().keys.size(), 0);
  for (const Choice* c : group) used[c->expert] += c->kept;
  for (Choice* c : group) {
    if (c->kept) continue;
    const auto& keys = scored[c->token].keys;
    for (const int64_t e : best(keys, static_cast<int64_t>(keys.size()))) {
      const auto& own = result.choices[c->token];
      const bool has = std::any_of(own.begin(), own.end(),
                                   [&](const Choice& other) { return other.expert == e; });
      if (has || used[e] >= capacity) continue;
      ++used[e];
      c->expert = e;
      c->kept = true;
      break;
    }
  }
}

// Weights of switch, deepseek_moe, mixtral, gshard and normalised top_k over the experts that a
// token ends with.
inline void reweigh(const MoEOptions& moe, const Scored& scored, std::vector<Choice>& choices) {
  const bool raw = moe.router.type == "switch" || moe.router.type == "deepseek_moe";
  const auto value_E = moe.router.type == "mixtral" ? torch::exp(scored.logits_E) : scored.s_E;
  auto sum = torch::zeros({}, value_E.options());
  if (static_cast<int64_t>(choices.size()) < moe.top_k) {
    for (const int64_t e : best(scored.keys, moe.top_k)) sum = sum + value_E[e];
  } else {
    for (const Choice& c : choices) sum = sum + value_E[c.expert];
  }
  for (Choice& c : choices) c.weight = raw ? value_E[c.expert] : value_E[c.expert] / sum;
}

// Refuses the choices over capacity in one group of tokens; returns the capacity. Leaves the group
// in filling order.
inline int64_t drop(const MoEOptions& moe, const RoutingContext& context, double factor,
                    int64_t tokens, std::vector<Choice*>& group) {
  const auto& order = moe.capacity.order;
  const double seats = factor * moe.top_k * tokens / routable(moe) * (1 - 1e-12);
  const int64_t capacity =
      std::max<int64_t>(moe.capacity.min, static_cast<int64_t>(std::ceil(seats)));
  std::vector<double> largest(1);
  for (const Choice* c : group) {
    if (static_cast<size_t>(c->token) >= largest.size()) largest.resize(c->token + 1, 0);
    largest[c->token] = std::max(largest[c->token], c->weight.item<double>());
  }
  using Key = std::tuple<double, double, int64_t, int64_t>;
  const auto key = [&](const Choice* c) -> Key {
    const double k = static_cast<double>(c->column);
    const auto id = static_cast<uint64_t>(context.first_token + c->token);
    if (order == "random" && context.training)
      return {k,
              uniform({context.seed, 7, static_cast<uint64_t>(context.step),
                       static_cast<uint64_t>(context.layer), id, 0}),
              c->token, 0};
    if (order == "probability") return {-c->weight.item<double>(), 0, c->token, c->column};
    if (order == "batch_priority") return {k, -largest[c->token], c->token, 0};
    return {k, 0, c->token, 0};
  };
  std::stable_sort(group.begin(), group.end(), [&](auto* a, auto* b) { return key(a) < key(b); });
  std::vector<int64_t> used(moe.num_experts, 0);
  for (Choice* c : group)
    if (c->expert < moe.num_experts) c->kept = used[c->expert]++ < capacity;
  return capacity;
}

inline Result forward(const MoEOptions& moe, const Weights& w, const torch::Tensor& x_TD,
                      const RoutingContext& context) {
  const int64_t T = x_TD.size(0);
  Result result;
  result.counts.assign(routable(moe), 0);
  std::vector<Scored> scored(static_cast<size_t>(T));
  if (assigns_batch(moe.router.type, context.training)) {
    std::vector<torch::Tensor> logits;
    for (int64_t t = 0; t < T; ++t) logits.push_back(w.router_ED.matmul(x_TD[t]));
    const auto picked = pick_batch(moe, logits, context);
    for (int64_t t = 0; t < T; ++t) result.choices.push_back(as_choices(t, picked[t]));
  }
  for (int64_t t = static_cast<int64_t>(result.choices.size()); t < T; ++t)
    result.choices.push_back(choose(moe, w, x_TD[t], t, context, &scored[t]));
  for (const auto& token : result.choices)
    for (const Choice& c : token) ++result.counts[c.expert];
  if (moe.capacity.factor) {
    const double factor = context.training
                              ? *moe.capacity.factor
                              : moe.capacity.eval_factor.value_or(*moe.capacity.factor);
    int64_t group = moe.capacity.scope == "sequence" ? context.sequence_length : T;
    if (moe.capacity.scope == "sequences")
      group = context.sequence_length * moe.capacity.scope_sequences;
    for (int64_t first = 0; first < T; first += group) {
      std::vector<Choice*> members;
      for (int64_t t = first; t < std::min(T, first + group); ++t)
        for (Choice& c : result.choices[t]) members.push_back(&c);
      const int64_t capacity = drop(moe, context, factor, std::min(group, T - first), members);
      if (moe.capacity.overflow == "next_choice") place_refused(members, scored, capacity, result);
    }
  }
  if (moe.capacity.factor && moe.capacity.overflow == "next_choice")
    for (int64_t t = 0; t < T; ++t) reweigh(moe, scored[t], result.choices[t]);
  std::vector<torch::Tensor> rows;
  for (int64_t t = 0; t < T; ++t) {
    auto y_D = torch::zeros_like(x_TD[t]);
    auto kept_sum = torch::zeros({}, x_TD.options());
    for (const Choice& c : result.choices[t])
      if (c.kept) kept_sum = kept_sum + c.weight;
    for (Choice& c : result.choices[t]) {
      if (!c.kept) continue;
      auto weight = c.weight;
      if (moe.capacity.factor && moe.capacity.renormalize) weight = weight / kept_sum;
      y_D = y_D + weight * moe.router.scale * expert_output(moe, w, c.expert, x_TD[t]);
    }
    if (w.beside.count("shared.down")) y_D = y_D + shared_experts(w, x_TD[t]);
    rows.push_back(y_D);
  }
  result.y_TD = T > 0 ? torch::stack(rows) : torch::zeros_like(x_TD);
  return result;
}

}  // namespace switchyard::reference
