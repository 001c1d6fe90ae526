#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// A tree of depth two: equal blocks of consecutive experts are groups.
struct HierarchyRule {
  int64_t groups = 1, group_size = 1;           ///< a and b; E = a · b
  int64_t kept_groups = 1, kept_per_group = 1;  ///< k₁ and k₂; K = k₁ · k₂
};

/// Hierarchical mixture (Jordan & Jacobs 1994; sparse as Shazeer 2017, appendix B). Logits
/// [T, a + E], groups first: softmax over the groups times softmax inside each. A token goes to the
/// best k₂ experts of each of its best k₁ groups, by falling product; weights are the products
/// divided by their sum over the kept.
std::unique_ptr<Router> make_hierarchical_router(const HierarchyRule& rule);

}  // namespace switchyard
