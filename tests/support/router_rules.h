#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "core/moe/options/router_traits.h"
#include "core/moe/routers/router.h"

namespace switchyard::test {

/// The rules of a router's choice, checked on its decision about all tokens of a micro-batch,
/// before any capacity.
class RouterRules {
 public:
  RouterRules(const MoEOptions& moe, const RoutingContext& context, const RouterInputs& inputs,
              const torch::Tensor& bias_E, const RoutingDecision& decision)
      : moe_(moe),
        context_(context),
        inputs_(inputs),
        bias_E_(bias_E),
        d_(decision),
        type_(moe.router.type),
        T_(decision.expert_ids_TK.size(0)),
        K_(decision.expert_ids_TK.size(1)),
        ids_TK_(decision.expert_ids_TK.contiguous()) {}

  /// "", or the first rule that is broken.
  std::string broken() const {
    if (K_ < 1 || d_.weights_TK.sizes() != d_.expert_ids_TK.sizes()) return "columns";
    if (!d_.counts_E.equal(count_experts(d_.expert_ids_TK, moe_.num_experts))) return "counts";
    if (!d_.weights_TK.isfinite().all().item<bool>()) return "a weight is not finite";
    std::string problem = broken_columns();
    if (problem.empty() && T_ > 0) problem = broken_ranking();
    if (problem.empty() && T_ > 0) problem = broken_choice();
    if (problem.empty() && type_ == "expert_choice") problem = broken_pools();
    if (problem.empty() && type_ == "hierarchical") problem = broken_branches();
    return problem;
  }

 private:
  const int64_t* row(int64_t t) const { return ids_TK_.const_data_ptr<int64_t>() + t * K_; }
  int64_t chosen(int64_t t) const {
    return std::count_if(row(t), row(t) + K_, [](int64_t e) { return e >= 0; });
  }
  static std::vector<double> numbers(const torch::Tensor& tensor) {
    const auto flat = tensor.to(torch::kDouble).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
  }

  // Different experts first, then −1 without weight; no column that nobody needs.
  std::string broken_columns() const {
    const int64_t E = moe_.num_experts;
    if (!d_.weights_TK.masked_select(ids_TK_.lt(0)).eq(0).all().item<bool>())
      return "a weight without an expert";
    int64_t widest = 0;
    for (int64_t t = 0; t < T_; ++t) {
      const int64_t *ids = row(t), count = chosen(t);
      widest = std::max(widest, count);
      for (int64_t k = 0; k < K_; ++k) {
        if (ids[k] < -1 || ids[k] >= E) return "an expert out of range";
        if ((ids[k] >= 0) != (k < count)) return "an expert behind a gap";
        if (k < count && std::find(ids, ids + k, ids[k]) != ids + k) return "an expert twice";
      }
    }
    const bool fixed = router_traits(moe_.router, moe_.top_k).fixed_columns;
    const bool fits = fixed ? K_ == moe_.top_k : K_ == std::max<int64_t>(widest, 1);
    return fits || T_ == 0 ? "" : "columns that nobody needs";
  }

  // Keys are s + b or s·b inside the best groups, −∞ outside; equal groups go to the lower.
  std::string broken_ranking() const {
    if (!router_traits(moe_.router, moe_.top_k).takes_bias) return "";
    auto keys_TE = d_.scores_TE.detach();
    if (bias_E_.defined()) keys_TE = moe_.bias.multiplies() ? keys_TE * bias_E_ : keys_TE + bias_E_;
    const bool single = keys_TE.scalar_type() == torch::kFloat;
    const std::vector<double> keys = numbers(keys_TE), ranking = numbers(d_.ranking_TE);
    const int64_t E = moe_.num_experts, groups = moe_.router.groups, size = E / groups;
    const bool sums = type_ == "deepseek_v3" || moe_.router.score != "softmax";
    for (int64_t t = 0; t < T_; ++t) {
      std::vector<double> value;
      for (int64_t g = 0; g < groups; ++g) {
        std::vector<double> members(keys.begin() + t * E + g * size,
                                    keys.begin() + t * E + (g + 1) * size);
        std::sort(members.rbegin(), members.rend());
        const double best = members[0] + (sums && size > 1 ? members[1] : 0);
        value.push_back(single ? static_cast<double>(static_cast<float>(best)) : best);
      }
      for (int64_t e = 0; e < E; ++e) {
        const int64_t g = e / size;
        int64_t better = 0;
        for (int64_t other = 0; other < groups; ++other)
          better += value[other] > value[g] || (value[other] == value[g] && other < g);
        const double wanted = better < moe_.router.kept_groups ? keys[t * E + e] : -INFINITY;
        if (ranking[t * E + e] != wanted) return "a key is not that of the scores and groups";
      }
    }
    return "";
  }

  torch::Tensor keys() const {
    if (d_.ranking_TE.defined()) return d_.ranking_TE.detach();
    if (type_ == "base" && !context_.training) return inputs_.logits_TE;
    return type_ == "hash" || type_ == "base" ? torch::Tensor() : d_.scores_TE.detach();
  }

  // Choices by falling key, equal ones to the lower expert; nobody better is left out.
  std::string broken_choice() const {
    if (type_ == "base" && context_.training) return broken_balance();
    if (type_ == "hash") return "";
    const std::vector<double> all = numbers(keys());
    const int64_t E = moe_.num_experts;
    for (int64_t t = 0; t < T_; ++t) {
      const double* key = all.data() + t * E;
      const int64_t *ids = row(t), count = chosen(t);
      const auto before = [&](int64_t a, int64_t b) {
        return key[a] > key[b] || (key[a] == key[b] && a < b);
      };
      for (int64_t k = 0; k + 1 < count; ++k)
        if (!before(ids[k], ids[k + 1])) return "choices out of order";
      if (type_ == "gshard" && count < 1) return "no first expert";
      if (type_ == "expert_choice" || type_ == "hierarchical") continue;
      std::vector<bool> taken(static_cast<size_t>(E));
      for (int64_t k = 0; k < count; ++k) taken[static_cast<size_t>(ids[k])] = true;
      if (!best(key, taken)) return "a better expert left out";
      if (type_ == "relu" && count != std::count_if(key, key + E, [](double s) { return s > 0; }))
        return "not all positive scores";
    }
    return "";
  }

  // Of a row of keys: whether the marked ones are the best, equal ones by rising index.
  static bool best(const double* key, const std::vector<bool>& marked) {
    for (size_t in = 0; in < marked.size(); ++in)
      for (size_t out = 0; out < marked.size(); ++out)
        if (marked[in] && !marked[out] && (key[out] > key[in] || (key[out] == key[in] && out < in)))
          return false;
    return true;
  }

  // The best groups by their own softmax, in each the best experts by theirs.
  std::string broken_branches() const {
    const int64_t a = moe_.router.branches[0], b = moe_.router.branches[1];
    const auto& logits_TE = inputs_.logits_TE;
    const auto outer = numbers(torch::softmax(logits_TE.narrow(1, 0, a), 1));
    const auto inner =
        numbers(torch::softmax(logits_TE.narrow(1, a, a * b).reshape({T_, a, b}), 2));
    for (int64_t t = 0; t < T_; ++t) {
      std::vector<bool> groups(static_cast<size_t>(a));
      for (int64_t k = 0; k < K_; ++k) groups[static_cast<size_t>(row(t)[k] / b)] = true;
      if (std::count(groups.begin(), groups.end(), true) != moe_.router.kept[0])
        return "not so many groups";
      if (!best(outer.data() + t * a, groups)) return "a better group left out";
      for (int64_t g = 0; g < a; ++g) {
        std::vector<bool> members(static_cast<size_t>(b));
        for (int64_t k = 0; k < K_; ++k)
          if (row(t)[k] / b == g) members[static_cast<size_t>(row(t)[k] % b)] = true;
        const int64_t taken = std::count(members.begin(), members.end(), true);
        if (taken != (groups[static_cast<size_t>(g)] ? moe_.router.kept[1] : 0))
          return "not so many experts of a group";
        if (!best(inner.data() + (t * a + g) * b, members))
          return "a better expert of a group left out";
      }
    }
    return "";
  }

  std::string broken_balance() const {
    const int64_t low = T_ / moe_.num_experts, extra = T_ % moe_.num_experts > 0;
    const bool even =
        d_.counts_E.ge(low).logical_and(d_.counts_E.le(low + extra)).all().item<bool>();
    return even ? "" : "an assignment out of balance";
  }

  // Each expert takes the first of each pool by falling score, equal ones by rising token.
  std::string broken_pools() const {
    const int64_t E = moe_.num_experts;
    int64_t pool = std::max<int64_t>(T_, 1);
    if (moe_.router.pool == "sequence") pool = context_.sequence_length;
    if (moe_.router.pool == "tokens") pool = moe_.router.pool_tokens;
    std::vector<int64_t> place(static_cast<size_t>(T_ * E), -1);
    const auto slot_TK = d_.slot_TK.contiguous();
    for (int64_t at = 0; at < T_ * K_; ++at)
      if (const int64_t e = row(0)[at]; e >= 0)
        place[at / K_ * E + e] = slot_TK.const_data_ptr<int64_t>()[at];
    const std::vector<double> s = numbers(d_.scores_TE);
    for (int64_t first = 0; first < T_; first += pool) {
      const int64_t size = std::min(pool, T_ - first), taken = (moe_.top_k * size + E - 1) / E;
      for (int64_t e = 0; e < E; ++e) {
        std::vector<int64_t> tokens(static_cast<size_t>(size));
        std::iota(tokens.begin(), tokens.end(), first);
        std::stable_sort(tokens.begin(), tokens.end(),
                         [&](int64_t a, int64_t b) { return s[a * E + e] > s[b * E + e]; });
        for (int64_t i = 0; i < size; ++i)
          if (place[tokens[i] * E + e] != (i < taken ? i : -1)) return "not the best tokens";
      }
    }
    return "";
  }

  const MoEOptions& moe_;
  const RoutingContext& context_;
  const RouterInputs& inputs_;
  const torch::Tensor& bias_E_;
  const RoutingDecision& d_;
  const std::string& type_;
  int64_t T_, K_;
  torch::Tensor ids_TK_;
};

}  // namespace switchyard::test
