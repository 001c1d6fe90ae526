#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/counter_rng.h"
#include "core/moe/capacity.h"

namespace switchyard::test {

/// The rules of capacities, checked on what apply_capacity made of a decision. Both hold all tokens
/// of the micro-batch, in one process.
class CapacityRules {
 public:
  CapacityRules(const MoEOptions& moe, const RoutingContext& context, const RoutingDecision& before,
                const RoutingDecision& after)
      : moe_(moe),
        context_(context),
        before_(before),
        after_(after),
        T_(after.expert_ids_TK.size(0)),
        K_(after.expert_ids_TK.size(1)),
        factor_(moe.capacity.factor_in(context.training)) {}

  /// "", or the first rule that is broken.
  std::string broken() {
    std::string problem = broken_sums();
    if (problem.empty()) problem = broken_weights();
    if (!problem.empty() || !factor_ || T_ == 0) return problem;
    read();
    const int64_t size = group_tokens();
    for (int64_t first = 0; first < T_ && problem.empty(); first += size)
      problem = broken_group({first, std::min(T_, first + size)});
    return problem;
  }

 private:
  struct Tokens {
    int64_t first, last;
  };
  using Places = std::vector<std::set<int64_t>>;  // of each expert: the slots that it gave

  std::string broken_sums() const {
    const auto chosen_TK = after_.expert_ids_TK.ge(0);
    if (!after_.selected_TK.equal(before_.expert_ids_TK)) return "the selection has changed";
    if (!after_.counts_E.equal(count_experts(after_.selected_TK, moe_.num_experts)))
      return "counts are not those of the selection";
    if (!chosen_TK.equal(after_.selected_TK.ge(0))) return "an assignment came or went";
    const int64_t kept = after_.kept_TK.sum().item<int64_t>();
    const int64_t dropped = chosen_TK.logical_and(~after_.kept_TK).sum().item<int64_t>();
    if (kept + dropped != after_.counts_E.sum().item<int64_t>())
      return "kept + dropped is not what was selected";
    if (!factor_ && dropped > 0) return "dropped without a capacity";
    if (!factor_ && after_.slot_TK.defined() && !after_.slot_TK.equal(before_.slot_TK))
      return "a slot of the router's own has changed";
    if (factor_ && !after_.kept_TK.equal(after_.slot_TK.ge(0))) return "kept without a slot";
    const bool moves = factor_ && moe_.capacity.overflow == "next_choice";
    if (!moves && !after_.expert_ids_TK.equal(after_.selected_TK))
      return "moved without next_choice";
    return "";
  }

  std::string broken_weights() const {
    const auto &weights_TK = after_.weights_TK, &kept_TK = after_.kept_TK;
    if (!weights_TK.isfinite().all().item<bool>()) return "a weight is not finite";
    if (factor_ && moe_.capacity.overflow == "next_choice") return "";  // weights of other experts
    const bool shared = factor_ && moe_.capacity.renormalize;
    const auto same_TK = weights_TK.eq(before_.weights_TK);
    if (!(shared ? same_TK.logical_or(kept_TK) : same_TK).all().item<bool>())
      return "a weight has changed";
    return "";
  }

  int64_t group_tokens() const {
    const auto& capacity = moe_.capacity;
    if (capacity.scope == "micro_batch") return T_;
    return context_.sequence_length * (capacity.scope == "sequence" ? 1 : capacity.scope_sequences);
  }

  static std::vector<int64_t> integers(const torch::Tensor& tensor) {
    const auto flat = tensor.contiguous();
    return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
  }
  static std::vector<double> numbers(const torch::Tensor& tensor) {
    const auto flat = tensor.to(torch::kDouble).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
  }
  void read() {
    ids_ = integers(after_.expert_ids_TK);
    slots_ = integers(after_.slot_TK);
    selected_ = integers(before_.expert_ids_TK);
    weights_ = numbers(before_.weights_TK);
    if (moe_.capacity.overflow == "next_choice") ranking_ = numbers(before_.ranking_TE);
  }

  // (first key, second key, token, choice): the lowest is served first.
  std::array<double, 4> turn_of(int64_t t, int64_t k) const {
    const auto choice = static_cast<double>(k), token = static_cast<double>(t);
    const double* row = weights_.data() + t * K_;
    const std::string& order = moe_.capacity.order;
    if (order == "probability") return {-row[k], 0, token, choice};
    if (order == "batch_priority")
      return {choice, -*std::max_element(row, row + K_), token, choice};
    if (order == "position" || !context_.training) return {choice, 0, token, choice};
    const auto stream = static_cast<uint64_t>(RandomStream::kCapacityOrder);
    const double u = uniform({context_.seed, stream, static_cast<uint64_t>(context_.step),
                              static_cast<uint64_t>(context_.layer),
                              static_cast<uint64_t>(context_.first_token + t), 0});
    return {choice, u, token, choice};
  }

  std::string broken_group(Tokens tokens) const {
    const int64_t capacity = expert_capacity(*factor_, moe_.top_k, tokens.last - tokens.first,
                                             moe_.num_experts, moe_.capacity.min);
    Places places(static_cast<size_t>(moe_.num_experts));
    for (int64_t at = tokens.first * K_; at < tokens.last * K_; ++at)
      if (slots_[at] >= 0 && !places[static_cast<size_t>(ids_[at])].insert(slots_[at]).second)
        return "a slot twice";
    for (const auto& taken : places) {
      const auto count = static_cast<int64_t>(taken.size());
      if (count > capacity) return "more kept than the capacity";
      if (count > 0 && *taken.rbegin() + 1 != count) return "a slot skipped";
    }
    std::string problem = broken_order(tokens, capacity);
    if (problem.empty()) problem = broken_refusals(tokens, places, capacity);
    return problem;
  }

  // Of those that selected an expert the first by their turn are seated, in that order; equal keys
  // go to the lower token.
  std::string broken_order(Tokens tokens, int64_t capacity) const {
    std::vector<std::vector<std::array<double, 4>>> queues(static_cast<size_t>(moe_.num_experts));
    for (int64_t t = tokens.first; t < tokens.last; ++t)
      for (int64_t k = 0; k < K_; ++k)
        if (const int64_t e = selected_[t * K_ + k]; e >= 0)
          queues[static_cast<size_t>(e)].push_back(turn_of(t, k));
    for (auto& queue : queues) {
      std::sort(queue.begin(), queue.end());
      for (size_t place = 0; place < queue.size(); ++place) {
        const int64_t at =
            static_cast<int64_t>(queue[place][2]) * K_ + static_cast<int64_t>(queue[place][3]);
        const auto turn = static_cast<int64_t>(place);
        const bool seated = slots_[at] == turn && ids_[at] == selected_[at];
        if (turn < capacity && !seated) return "an expert filled out of order";
        if (turn >= capacity && slots_[at] >= 0 && ids_[at] == selected_[at])
          return "seated by an expert that was full";
      }
    }
    return "";
  }

  // Refused only where the expert is full; under next_choice only where all others are, too.
  std::string broken_refusals(Tokens tokens, const Places& places, int64_t capacity) const {
    const int64_t E = moe_.num_experts;
    const auto full = [&](int64_t e) {
      return static_cast<int64_t>(places[static_cast<size_t>(e)].size()) == capacity;
    };
    for (int64_t t = tokens.first; t < tokens.last; ++t) {
      std::set<int64_t> own;
      for (int64_t k = 0; k < K_; ++k)
        if (const int64_t e = ids_[t * K_ + k]; e >= 0 && !own.insert(e).second)
          return "a token has an expert twice";
      for (int64_t k = 0; k < K_; ++k) {
        const int64_t at = t * K_ + k, e = ids_[at];
        if (e < 0) continue;
        if (slots_[at] < 0 && !full(e)) return "refused by an expert that has room";
        if (moe_.capacity.overflow != "next_choice") continue;
        const double* ranking = ranking_.data() + t * E;
        if (!std::isfinite(ranking[e])) return "moved to where the token may not go";
        for (int64_t other = 0; slots_[at] < 0 && other < E; ++other)
          if (std::isfinite(ranking[other]) && own.count(other) == 0 && !full(other))
            return "refused although another expert has room";
      }
    }
    return "";
  }

  const MoEOptions& moe_;
  const RoutingContext& context_;
  const RoutingDecision &before_, &after_;
  int64_t T_, K_;
  std::optional<double> factor_;
  std::vector<int64_t> ids_, slots_, selected_;  // flat [T, K]
  std::vector<double> weights_, ranking_;        // [T, K] before the capacity, [T, E]
};

}  // namespace switchyard::test
