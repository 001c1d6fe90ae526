#include "trainers/eval/routing_history.h"

#include <ATen/ops/zeros.h>

#include <limits>

#include "core/base/error.h"
#include "core/metrics/choice_overlap.h"

namespace switchyard {
namespace {

// Of each layer, over all ranks.
std::vector<ChoiceOverlap> overlaps(Communicator& world, const Choices& reference,
                                    const Choices& other) {
  SWITCHYARD_CHECK(reference.size() == other.size());
  const at::Tensor counts = at::zeros({static_cast<int64_t>(reference.size()), 4}, at::kLong);
  for (size_t layer = 0; layer < reference.size(); ++layer) {
    SWITCHYARD_CHECK(reference[layer].size() == other[layer].size());
    for (size_t batch = 0; batch < reference[layer].size(); ++batch)
      counts[static_cast<int64_t>(layer)] +=
          choice_overlap(reference[layer][batch], other[layer][batch]);
  }
  world.all_reduce({counts}, ReduceOp::kSum)->wait();
  std::vector<ChoiceOverlap> all;
  for (int64_t layer = 0; layer < counts.size(0); ++layer)
    all.push_back(choice_overlap_of(counts[layer]));
  return all;
}

}  // namespace

RoutingHistory::RoutingHistory(Communicator& world, Choices last)
    : world_(world), last_(std::move(last)) {}

void RoutingHistory::describe(Choices choices, EvalReport& report) {
  if (choices.empty()) return;
  for (const ChoiceOverlap& overlap : overlaps(world_, last_, choices)) {
    report.moe["saturation"].push_back(overlap.share());
    report.moe["saturation_first"].push_back(overlap.first_share());
  }
  if (previous_.empty()) {
    for (const char* name : {"churn", "churn_first"})
      report.moe[name].assign(choices.size(), std::numeric_limits<double>::quiet_NaN());
  } else {
    for (const ChoiceOverlap& overlap : overlaps(world_, choices, previous_)) {
      report.moe["churn"].push_back(1 - overlap.share());
      report.moe["churn_first"].push_back(1 - overlap.first_share());
    }
  }
  previous_ = std::move(choices);
}

}  // namespace switchyard
