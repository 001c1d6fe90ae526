#include "core/moe/capacity_queue.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "core/moe/routers/random.h"

namespace switchyard {
namespace {

constexpr int64_t kFields = 7;

at::Tensor pack(const std::vector<Assignment>& assignments, const CapacityGroups& groups) {
  at::Tensor rows = at::empty({static_cast<int64_t>(assignments.size()), kFields}, at::kDouble);
  double* out = rows.data_ptr<double>();
  for (const Assignment& a : assignments) {
    const std::array<double, kFields> fields = {static_cast<double>(groups.communicator->rank()),
                                                static_cast<double>(a.group),
                                                static_cast<double>(a.expert),
                                                a.primary,
                                                a.secondary,
                                                static_cast<double>(groups.first + a.token),
                                                static_cast<double>(a.choice)};
    out = std::copy(fields.begin(), fields.end(), out);
  }
  return rows;
}

at::Tensor gather_integers(Communicator& comm, const at::Tensor& local) {
  at::Tensor all = at::empty({comm.size(), local.numel()}, at::kLong);
  comm.all_gather({all}, {local})->wait();
  return all;
}

int64_t saturated(int64_t a, int64_t b) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return a > 0 && b > kMost / a ? kMost : a * b;
}

void adopt_tokens(const at::Tensor& tokens_N, CapacityGroups& groups) {
  const int64_t rank = groups.communicator->rank();
  groups.first = tokens_N.narrow(0, 0, rank).sum().item<int64_t>();
  groups.tokens = tokens_N.sum().item<int64_t>();
}

}  // namespace

int64_t CapacityGroups::num_groups() const {
  if (group_tokens == std::numeric_limits<int64_t>::max()) return 1;
  return (tokens + group_tokens - 1) / group_tokens;
}

int64_t CapacityGroups::tokens_in(int64_t group) const {
  if (num_groups() == 1) return tokens;
  return std::min(group_tokens, tokens - group * group_tokens);
}

CapacityGroups capacity_groups(const CapacityOptions& options, const RoutingContext& context,
                               const RoutingDecision& decision, bool fixed_columns) {
  CapacityGroups groups;
  const int64_t tokens = decision.expert_ids_TK.size(0);
  const int64_t length = context.sequence_length > 0 ? context.sequence_length : tokens;
  groups.tokens = tokens;
  groups.columns = decision.expert_ids_TK.size(1);
  const bool by_sequence = options.scope == "sequence";
  if (by_sequence) groups.group_tokens = std::max<int64_t>(length, 1);
  if (options.scope == "sequences")
    groups.group_tokens = std::max<int64_t>(saturated(length, options.scope_sequences), 1);
  if (by_sequence || !context.communicator || context.communicator->size() == 1) return groups;

  groups.communicator = context.communicator;
  if (options.scope == "micro_batch" && fixed_columns) return groups;
  const at::Tensor all =
      gather_integers(*groups.communicator, at::tensor({tokens, groups.columns}, at::kLong));
  adopt_tokens(all.select(1, 0), groups);
  groups.columns = all.select(1, 1).max().item<int64_t>();
  return groups;
}

std::vector<Assignment> assignments_of(const RoutingDecision& decision, const std::string& order,
                                       const CapacityGroups& groups,
                                       const RoutingContext& context) {
  const at::Tensor ids_TK = decision.expert_ids_TK.cpu().contiguous();
  const at::Tensor weights_TK = decision.weights_TK.detach().to(at::kCPU, at::kDouble).contiguous();
  const int64_t T = ids_TK.size(0), K = ids_TK.size(1);
  const bool by_weight = order == "probability", by_priority = order == "batch_priority";
  at::Tensor u_T;
  if (order == "random" && context.training)
    u_T = draw(context, RandomStream::kCapacityOrder, T, 1, at::TensorOptions().dtype(at::kDouble))
              .reshape({T});
  const int64_t* ids = ids_TK.const_data_ptr<int64_t>();
  const double* weights = weights_TK.const_data_ptr<double>();
  std::vector<Assignment> result;
  result.reserve(static_cast<size_t>(T * K));
  for (int64_t t = 0; t < T; ++t) {
    double largest = 0;
    if (by_priority)
      largest = K > 0 ? *std::max_element(weights + t * K, weights + (t + 1) * K) : 0;
    for (int64_t k = 0; k < K; ++k) {
      const int64_t local = t * K + k;
      if (ids[local] < 0) continue;
      Assignment a{groups.group_of(t), ids[local], static_cast<double>(k), 0, t, k, local};
      if (by_weight) a.primary = -weights[local];
      if (by_priority) a.secondary = -largest;
      if (u_T.defined()) a.secondary = u_T.const_data_ptr<double>()[t];
      result.push_back(a);
    }
  }
  return result;
}

at::Tensor count_assignments(const std::vector<Assignment>& mine, int64_t num_tokens,
                             int64_t num_experts, CapacityGroups& groups) {
  const int64_t G = groups.num_groups(), C = groups.columns, E = num_experts;
  at::Tensor local = at::zeros({G * C * E + 1}, at::kLong);
  int64_t* counts = local.data_ptr<int64_t>();
  for (const Assignment& a : mine) ++counts[(a.group * C + a.choice) * E + a.expert];
  counts[G * C * E] = num_tokens;
  if (!groups.communicator) return local.narrow(0, 0, G * C * E).view({1, G, C, E});
  const at::Tensor all = gather_integers(*groups.communicator, local);
  adopt_tokens(all.select(1, G * C * E), groups);
  return all.narrow(1, 0, G * C * E).reshape({all.size(0), G, C, E});
}

void seat_by_position(const at::Tensor& counts_NGCE, const CapacityGroups& groups,
                      const std::vector<int64_t>& capacity_G, const std::vector<Assignment>& mine,
                      int64_t* slots) {
  const int64_t rank = groups.communicator ? groups.communicator->rank() : 0;
  const at::Tensor per_choice_GCE = counts_NGCE.sum(0);
  const at::Tensor earlier_choices_GCE = per_choice_GCE.cumsum(1) - per_choice_GCE;
  at::Tensor next_GCE = (earlier_choices_GCE + counts_NGCE.narrow(0, 0, rank).sum(0)).contiguous();
  const int64_t C = next_GCE.size(1), E = next_GCE.size(2);
  int64_t* next = next_GCE.data_ptr<int64_t>();
  for (const Assignment& a : mine) {
    const int64_t place = next[(a.group * C + a.choice) * E + a.expert]++;
    slots[a.local] = place < capacity_G[static_cast<size_t>(a.group)] ? place : -1;
  }
}

void seat_by_key(const CapacityGroups& groups, const std::vector<int64_t>& capacity_G,
                 const std::vector<Assignment>& mine, int64_t* slots) {
  std::vector<Assignment> all = gather_assignments(groups, mine, {}).rows;
  std::sort(all.begin(), all.end(), [](const Assignment& a, const Assignment& b) {
    return std::tuple_cat(std::tie(a.group, a.expert), a.order()) <
           std::tuple_cat(std::tie(b.group, b.expert), b.order());
  });
  int64_t place = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool same_queue =
        i > 0 && all[i].group == all[i - 1].group && all[i].expert == all[i - 1].expert;
    place = same_queue ? place + 1 : 0;
    if (all[i].local >= 0)
      slots[all[i].local] = place < capacity_G[static_cast<size_t>(all[i].group)] ? place : -1;
  }
}

GatheredAssignments gather_assignments(const CapacityGroups& groups,
                                       const std::vector<Assignment>& mine,
                                       const at::Tensor& extra) {
  if (!groups.communicator) return {mine, extra};
  at::Tensor packed = pack(mine, groups);
  if (extra.defined()) packed = at::cat({packed, extra}, 1).contiguous();
  const at::Tensor rows = gather_rows(*groups.communicator, packed);
  GatheredAssignments all;
  if (extra.defined()) all.extra = rows.narrow(1, kFields, extra.size(1)).contiguous();
  all.rows.reserve(static_cast<size_t>(rows.size(0)));
  const auto in = rows.accessor<double, 2>();
  size_t own = 0;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const bool is_own = static_cast<int>(in[i][0]) == groups.communicator->rank();
    const int64_t local = is_own ? mine[own++].local : -1;
    all.rows.push_back({static_cast<int64_t>(in[i][1]), static_cast<int64_t>(in[i][2]), in[i][3],
                        in[i][4], static_cast<int64_t>(in[i][5]), static_cast<int64_t>(in[i][6]),
                        local});
  }
  return all;
}

}  // namespace switchyard
