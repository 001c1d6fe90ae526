#pragma once

#include "tests/invariance/cases.h"

namespace switchyard::invariance {

/// How a step of `sequences` sequences is spread.
struct Layout {
  int ranks = 1;
  int expert_axis = 1;
  int64_t sequences = 5;
  int64_t micro_batches = 1;
};

/// The term over one step of an MoE layer whose router weight is the identity, so that its inputs
/// are the logits: value and gradient by them, in global order.
Outcome run_step(const Row& row, const Layout& layout);

/// The term and all gradients of a tiny transformer, in one vector, with or without recomputation.
Outcome run_transformer(const Row& row, bool recompute);

/// The term of given logits, `order[i]` being the expert in column i; the gradient in the order of
/// the experts.
Outcome run_permuted(const Row& row, const std::vector<int64_t>& order);

/// The term where every expert has the same load and probability.
double run_balanced(const Row& row, int64_t experts, int64_t top_k, int64_t layers,
                    int64_t sequence_length);

}  // namespace switchyard::invariance
