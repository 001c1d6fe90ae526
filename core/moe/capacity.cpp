#include "core/moe/capacity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "core/base/error.h"

namespace switchyard {
namespace {

// One assignment's place in the queue of its expert is its rank by this key.
struct Assignment {
  int64_t expert;
  double primary, secondary;
  int64_t token, choice;  // token: global
  int64_t local;          // row in the flat [T·K] decision, −1 for another rank's

  auto order() const { return std::tie(expert, primary, secondary, token, choice); }
};

bool operator<(const Assignment& a, const Assignment& b) {
  return a.order() < b.order();
}

struct Decision {
  at::Tensor ids_TK, weights_TK;  // on the CPU, weights in fp64
  int64_t num_tokens() const { return ids_TK.size(0); }
  int64_t top_k() const { return ids_TK.size(1); }
};

std::vector<Assignment> assignments_of(const Decision& decision, const std::string& order,
                                       int64_t first_token) {
  const auto ids = decision.ids_TK.accessor<int64_t, 2>();
  const auto weights = decision.weights_TK.accessor<double, 2>();
  std::vector<Assignment> result;
  result.reserve(static_cast<size_t>(decision.ids_TK.numel()));
  for (int64_t t = 0; t < decision.num_tokens(); ++t) {
    double largest = 0;
    for (int64_t k = 0; k < decision.top_k(); ++k) largest = std::max(largest, weights[t][k]);
    for (int64_t k = 0; k < decision.top_k(); ++k) {
      if (ids[t][k] < 0) continue;
      Assignment a{ids[t][k], 0, 0, first_token + t, k, t * decision.top_k() + k};
      if (order == "probability") {
        a.primary = -weights[t][k];
      } else {
        a.primary = static_cast<double>(k);
        if (order == "batch_priority") a.secondary = -largest;
      }
      result.push_back(a);
    }
  }
  return result;
}

// Seats the assignments of one group: slot = place in the expert's queue if below the capacity.
void seat(std::vector<Assignment>& group, int64_t capacity, int64_t* slots) {
  std::sort(group.begin(), group.end());
  int64_t place = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    place = i > 0 && group[i].expert == group[i - 1].expert ? place + 1 : 0;
    if (group[i].local >= 0) slots[group[i].local] = place < capacity ? place : -1;
  }
}

void seat_sequences(const CapacityOptions& options, const RoutingContext& context,
                    const MoEOptions& moe, double factor, std::vector<Assignment> all,
                    int64_t num_tokens, int64_t* slots) {
  const int64_t length = context.sequence_length > 0 ? context.sequence_length : num_tokens;
  const int64_t capacity = expert_capacity(factor, moe.top_k, length, moe.num_experts, options.min);
  auto begin = all.begin();
  while (begin != all.end()) {
    const int64_t sequence = (begin->token - context.first_token) / length;
    const auto end = std::find_if(begin, all.end(), [&](const Assignment& a) {
      return (a.token - context.first_token) / length != sequence;
    });
    std::vector<Assignment> group(begin, end);
    seat(group, capacity, slots);
    begin = end;
  }
}

at::Tensor pack(const std::vector<Assignment>& assignments) {
  at::Tensor rows = at::empty({static_cast<int64_t>(assignments.size()), 5}, at::kDouble);
  auto out = rows.accessor<double, 2>();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const Assignment& a = assignments[static_cast<size_t>(i)];
    const double fields[] = {static_cast<double>(a.expert), a.primary, a.secondary,
                             static_cast<double>(a.token), static_cast<double>(a.choice)};
    std::copy(std::begin(fields), std::end(fields), &out[i][0]);
  }
  return rows;
}

// Position order needs only counts: an exclusive scan of [K, E] over choices, then ranks.
void seat_by_position(const at::Tensor& counts_NKE, int rank, int64_t capacity,
                      const std::vector<Assignment>& mine, int64_t* slots) {
  const at::Tensor per_choice_KE = counts_NKE.sum(0);
  const at::Tensor earlier_choices_KE = per_choice_KE.cumsum(0) - per_choice_KE;
  at::Tensor next_KE = (earlier_choices_KE + counts_NKE.narrow(0, 0, rank).sum(0)).contiguous();
  auto next = next_KE.accessor<int64_t, 2>();
  for (const Assignment& a : mine) {
    const int64_t place = next[a.choice][a.expert]++;
    slots[a.local] = place < capacity ? place : -1;
  }
}

void seat_micro_batch(const CapacityOptions& options, const RoutingContext& context,
                      const MoEOptions& moe, double factor, std::vector<Assignment> mine,
                      int64_t num_tokens, int64_t* slots) {
  const int64_t K = moe.top_k, E = moe.num_experts;
  at::Tensor local = at::zeros({K * E + 1}, at::kLong);
  int64_t* counts = local.data_ptr<int64_t>();
  for (const Assignment& a : mine) ++counts[a.choice * E + a.expert];
  counts[K * E] = num_tokens;

  Communicator* comm = context.communicator;
  const int64_t ranks = comm ? comm->size() : 1;
  at::Tensor all = at::empty({ranks, K * E + 1}, at::kLong);
  if (comm && ranks > 1) {
    comm->all_gather({all}, {local})->wait();
  } else {
    all.copy_(local.unsqueeze(0));
  }
  const int64_t tokens = all.select(1, K * E).sum().item<int64_t>();
  const int64_t capacity = expert_capacity(factor, K, tokens, E, options.min);
  const at::Tensor counts_NKE = all.narrow(1, 0, K * E).reshape({ranks, K, E});
  if (options.order == "position") {
    seat_by_position(counts_NKE, comm ? comm->rank() : 0, capacity, mine, slots);
    return;
  }
  if (!comm || ranks == 1) {
    seat(mine, capacity, slots);
    return;
  }
  // Only an over-full expert's queue depends on other ranks' keys beyond their number; but a kept
  // assignment's slot is its place among all, so every key of an expert in use travels.
  const int64_t here = static_cast<int64_t>(mine.size());
  const at::Tensor rows = gather_rows(*comm, pack(mine));
  const int64_t before = counts_NKE.narrow(0, 0, comm->rank()).sum().item<int64_t>();
  std::vector<Assignment> everyone;
  everyone.reserve(static_cast<size_t>(rows.size(0)));
  const auto in = rows.accessor<double, 2>();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const bool own = i >= before && i < before + here;
    everyone.push_back({static_cast<int64_t>(in[i][0]), in[i][1], in[i][2],
                        static_cast<int64_t>(in[i][3]), static_cast<int64_t>(in[i][4]),
                        own ? mine[static_cast<size_t>(i - before)].local : -1});
  }
  seat(everyone, capacity, slots);
}

}  // namespace

int64_t expert_capacity(double factor, int64_t top_k, int64_t tokens, int64_t num_experts,
                        int64_t min) {
  const double seats = factor * static_cast<double>(top_k) * static_cast<double>(tokens) /
                       static_cast<double>(num_experts);
  return std::max(min, static_cast<int64_t>(std::ceil(seats * (1 - 1e-12))));
}

void apply_capacity(const CapacityOptions& options, const MoEOptions& moe,
                    const RoutingContext& context, RoutingDecision& decision) {
  decision.kept_TK = decision.expert_ids_TK.ge(0);
  const std::optional<double> factor = options.factor_in(context.training);
  if (!factor || context.selection == RoutingContext::Selection::kTokenChoice) return;
  const Decision cpu{decision.expert_ids_TK.cpu(),
                     decision.weights_TK.detach().to(at::kCPU, at::kDouble)};
  at::Tensor slots_TK = at::full(cpu.ids_TK.sizes(), -1, at::kLong);
  int64_t* slots = slots_TK.data_ptr<int64_t>();
  auto all = assignments_of(cpu, options.order, context.first_token);
  const auto seat_scope = options.scope == "sequence" ? seat_sequences : seat_micro_batch;
  seat_scope(options, context, moe, *factor, std::move(all), cpu.num_tokens(), slots);
  decision.slot_TK = slots_TK.to(decision.expert_ids_TK.device());
  decision.kept_TK = decision.slot_TK.ge(0);
  if (options.renormalize) {
    const at::Tensor kept_TK = decision.weights_TK.masked_fill(~decision.kept_TK, 0);
    decision.weights_TK = kept_TK / (kept_TK.sum(-1, true) + 1e-20);
  }
}

}  // namespace switchyard
