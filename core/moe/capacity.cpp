#include "core/moe/capacity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/moe/capacity_overflow.h"
#include "core/moe/capacity_queue.h"
#include "core/moe/options/router_traits.h"

namespace switchyard {
namespace {

constexpr double kDynamicStep = 1.05;

std::optional<double> factor_in_force(const CapacityOptions& options,
                                      const RoutingContext& context) {
  if (!context.training && context.selection == RoutingContext::Selection::kTokenChoice) return {};
  const std::optional<double> factor = options.factor_in(context.training);
  const bool fixed = !context.training && options.eval_factor;
  return factor && !fixed && context.capacity_factor ? context.capacity_factor : factor;
}

std::vector<int64_t> capacities(double factor, const CapacityOptions& options,
                                const MoEOptions& moe, const CapacityGroups& groups) {
  std::vector<int64_t> result;
  for (int64_t g = 0; g < groups.num_groups(); ++g)
    result.push_back(expert_capacity(factor, moe.top_k, groups.tokens_in(g),
                                     moe.light.even_size(moe.num_experts), options.min));
  return result;
}

// Only they have to compare keys; the others' assignments are seated at once.
std::vector<Assignment> of_full_experts(const std::vector<Assignment>& mine,
                                        const at::Tensor& totals_GE,
                                        const std::vector<int64_t>& capacity_G, int64_t* slots) {
  const auto totals = totals_GE.accessor<int64_t, 2>();
  std::vector<Assignment> queued;
  for (const Assignment& a : mine) {
    if (totals[a.group][a.expert] > capacity_G[static_cast<size_t>(a.group)]) {
      queued.push_back(a);
    } else {
      slots[a.local] = 0;
    }
  }
  return queued;
}

void renormalize_kept(RoutingDecision& decision) {
  const at::Tensor kept_TK = decision.weights_TK.masked_fill(~decision.kept_TK, 0);
  // One after the other, so that columns a rank adds as padding (relu) leave the bits as they are.
  const at::Tensor sum_T1 = kept_TK.cumsum(-1).narrow(-1, kept_TK.size(1) - 1, 1);
  decision.weights_TK =
      at::where(decision.kept_TK, kept_TK / (sum_T1 + 1e-20), decision.weights_TK);
}

}  // namespace

int64_t expert_capacity(double factor, int64_t top_k, int64_t tokens, double num_experts,
                        int64_t min) {
  const double seats =
      factor * static_cast<double>(top_k) * static_cast<double>(tokens) / num_experts;
  constexpr double kMost = 9e18;  // of int64
  return std::max(min, static_cast<int64_t>(std::min(std::ceil(seats * (1 - 1e-12)), kMost)));
}

double next_capacity_factor(const DynamicCapacity& options, double factor, double drop_rate) {
  if (drop_rate > options.target_drop) factor *= kDynamicStep;
  if (drop_rate < options.target_drop) factor /= kDynamicStep;
  return std::clamp(factor, options.min, options.max);
}

void apply_capacity(const CapacityOptions& options, const MoEOptions& moe,
                    const RoutingContext& context, RoutingDecision& decision,
                    const Router* router) {
  decision.selected_TK = decision.expert_ids_TK;
  decision.kept_TK = decision.expert_ids_TK.ge(0);
  const std::optional<double> factor = factor_in_force(options, context);
  if (!factor) return;
  const bool fixed_columns = router_traits(moe.router, moe.top_k).fixed_columns;
  CapacityGroups groups = capacity_groups(options, context, decision, fixed_columns);
  const auto mine = assignments_of(decision, options.order, groups, context);
  const at::Tensor counts_NGCE =
      count_assignments(mine, decision.expert_ids_TK.size(0), moe.num_experts, groups);
  const std::vector<int64_t> capacity_G = capacities(*factor, options, moe, groups);

  const auto device = decision.expert_ids_TK.device();
  at::Tensor slots_TK = at::full(decision.expert_ids_TK.sizes(), -1, at::kLong);
  int64_t* slots = slots_TK.data_ptr<int64_t>();
  const bool by_position =
      options.order == "position" || (options.order == "random" && !context.training);
  const at::Tensor totals_GE = counts_NGCE.sum(at::IntArrayRef{0, 2});
  if (by_position) {
    seat_by_position(counts_NGCE, groups, capacity_G, mine, slots);
  } else if (context.places) {
    seat_by_key(groups, capacity_G, mine, slots);
  } else {
    seat_by_key(groups, capacity_G, of_full_experts(mine, totals_GE, capacity_G, slots), slots);
  }
  if (options.overflow == "next_choice") {
    SWITCHYARD_CHECK(router && decision.ranking_TE.defined(),
                     "next_choice needs a router that ranks experts");
    at::Tensor ids_TK = decision.expert_ids_TK.to(at::kCPU, at::kLong, false, /*copy=*/true,
                                                  at::MemoryFormat::Contiguous);
    const Vacancies vacancies{totals_GE, capacity_G};
    if (place_refused(decision, groups, vacancies, mine, slots, ids_TK.data_ptr<int64_t>())) {
      decision.expert_ids_TK = ids_TK.to(device);
      decision.weights_TK = router->weights_of(decision, decision.expert_ids_TK);
    }
  }
  decision.kept_TK = slots_TK.ge(0).to(device);
  if (context.places) decision.slot_TK = slots_TK.to(device);
  if (options.renormalize) renormalize_kept(decision);
}

}  // namespace switchyard
