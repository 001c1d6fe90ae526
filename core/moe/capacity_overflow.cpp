#include "core/moe/capacity_overflow.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

namespace switchyard {
namespace {

using Flags = std::vector<std::vector<bool>>;

struct Seats {
  std::vector<std::vector<int64_t>> used_GE;
  Flags has_room_GE;
  int64_t most_with_room = 0;  // experts with room in one group
};

Seats seats_taken(const Vacancies& vacancies) {
  const at::Tensor totals = vacancies.totals_GE.contiguous();
  const int64_t E = totals.size(1);
  Seats seats;
  for (size_t g = 0; g < vacancies.capacity_G.size(); ++g) {
    const int64_t* row = totals.const_data_ptr<int64_t>() + static_cast<int64_t>(g) * E;
    std::vector<int64_t> used(row, row + E);
    std::vector<bool> has_room(used.size());
    for (size_t e = 0; e < used.size(); ++e) {
      used[e] = std::min(used[e], vacancies.capacity_G[g]);
      has_room[e] = used[e] < vacancies.capacity_G[g];
    }
    seats.most_with_room =
        std::max<int64_t>(seats.most_with_room, std::count(has_room.begin(), has_room.end(), true));
    seats.used_GE.push_back(std::move(used));
    seats.has_room_GE.push_back(std::move(has_room));
  }
  return seats;
}

// The experts with room that a token may go on to, best first.
std::vector<int64_t> walk_of(const double* ranking, int64_t num_experts, const int64_t* own,
                             int64_t columns, const std::vector<bool>& has_room) {
  std::vector<int64_t> walk;
  for (int64_t e = 0; e < num_experts; ++e)
    if (has_room[static_cast<size_t>(e)] && std::find(own, own + columns, e) == own + columns &&
        ranking[e] > -std::numeric_limits<double>::infinity())
      walk.push_back(e);
  std::stable_sort(walk.begin(), walk.end(),
                   [&](int64_t a, int64_t b) { return ranking[a] > ranking[b]; });
  return walk;
}

at::Tensor walks_of(const RoutingDecision& decision, const std::vector<Assignment>& refused,
                    const Seats& seats, const int64_t* ids) {
  const at::Tensor ranking_TE = decision.ranking_TE.detach().to(at::kCPU, at::kDouble).contiguous();
  const int64_t E = ranking_TE.size(1), K = decision.expert_ids_TK.size(1);
  at::Tensor walks =
      at::full({static_cast<int64_t>(refused.size()), seats.most_with_room}, -1.0, at::kDouble);
  double* out = walks.data_ptr<double>();
  for (const Assignment& a : refused) {
    const std::vector<int64_t> walk =
        walk_of(ranking_TE.const_data_ptr<double>() + a.token * E, E, ids + a.token * K, K,
                seats.has_room_GE[static_cast<size_t>(a.group)]);
    std::copy(walk.begin(), walk.end(), out);
    out += seats.most_with_room;
  }
  return walks;
}

}  // namespace

bool place_refused(const RoutingDecision& decision, const CapacityGroups& groups,
                   const Vacancies& vacancies, const std::vector<Assignment>& mine, int64_t* slots,
                   int64_t* ids) {
  Seats seats = seats_taken(vacancies);
  std::vector<Assignment> refused;
  for (const Assignment& a : mine)
    if (slots[a.local] < 0) refused.push_back(a);
  const GatheredAssignments all =
      gather_assignments(groups, refused, walks_of(decision, refused, seats, ids));

  std::vector<size_t> order(all.rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) {
    const Assignment &a = all.rows[i], &b = all.rows[j];
    return std::tuple_cat(std::tie(a.group), a.order()) <
           std::tuple_cat(std::tie(b.group), b.order());
  });
  std::set<std::pair<int64_t, int64_t>> taken;  // (token, expert) that an overflow gave
  bool moved = false;
  for (const size_t i : order) {
    const Assignment& a = all.rows[i];
    const size_t group = static_cast<size_t>(a.group);
    const double* walk =
        all.extra.const_data_ptr<double>() + static_cast<int64_t>(i) * seats.most_with_room;
    for (int64_t step = 0; step < seats.most_with_room && walk[step] >= 0; ++step) {
      const auto expert = static_cast<int64_t>(walk[step]);
      int64_t& used = seats.used_GE[group][static_cast<size_t>(expert)];
      if (used >= vacancies.capacity_G[group] || !taken.emplace(a.token, expert).second) continue;
      if (a.local >= 0) {
        slots[a.local] = used;
        ids[a.local] = expert;
        moved = true;
      }
      ++used;
      break;
    }
  }
  return moved;
}

}  // namespace switchyard
