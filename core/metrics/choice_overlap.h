#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace switchyard {

// Shape suffixes: T tokens, K columns of a decision.

/// How far the experts of two checkpoints agree for the same tokens: counts, to be summed over
/// batches and ranks (Muennighoff 2024, OLMoE, equation 5).
struct ChoiceOverlap {
  int64_t shared = 0;         ///< choices of the reference that the other makes as well
  int64_t choices = 0;        ///< choices of the reference
  int64_t shared_first = 0;   ///< tokens with the same first choice
  int64_t first_choices = 0;  ///< tokens for which the reference has a choice

  double share() const;        ///< shared / choices; NaN without any
  double first_share() const;  ///< shared_first / first_choices; NaN without any
};

/// int64 [4]: the members above in their order. Both tables hold integers, −1 for no choice; K may
/// differ.
at::Tensor choice_overlap(const at::Tensor& reference_TK, const at::Tensor& other_TK);
/// Reads such counts, on the host.
ChoiceOverlap choice_overlap_of(const at::Tensor& counts);

}  // namespace switchyard
