#include "core/metrics/choice_overlap.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

namespace switchyard {
namespace {

double ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

double ChoiceOverlap::share() const {
  return ratio(shared, choices);
}

double ChoiceOverlap::first_share() const {
  return ratio(shared_first, first_choices);
}

at::Tensor choice_overlap(const at::Tensor& reference_TK, const at::Tensor& other_TK) {
  const auto chosen_TK = reference_TK.ge(0);
  auto shared_TK = at::zeros_like(chosen_TK);
  for (int64_t column = 0; column < other_TK.size(1); ++column)
    shared_TK.logical_or_(reference_TK.eq(other_TK.narrow(1, column, 1)));
  shared_TK.logical_and_(chosen_TK);
  const auto first_T = chosen_TK.select(1, 0);
  const auto same_T = reference_TK.select(1, 0).eq(other_TK.select(1, 0)).logical_and_(first_T);
  return at::stack({shared_TK.sum(), chosen_TK.sum(), same_T.sum(), first_T.sum()});
}

ChoiceOverlap choice_overlap_of(const at::Tensor& counts) {
  const auto* values = counts.const_data_ptr<int64_t>();
  return {values[0], values[1], values[2], values[3]};
}

}  // namespace switchyard
