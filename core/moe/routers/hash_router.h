#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// Hash layers (Roller 2021): a token's experts are a function of its id alone, without a learned
/// weight; every weight is 1/K. Tables:
///   random    the first K distinct h(run.seed, 41, id, j) mod E, j = 0, 1, …
///   bigram    the same of h(run.seed, 43, previous id, id, j); previous = vocab_size at position 0
///   balanced  a table by training frequency (balanced_table)
/// Needs context.token_ids_T, and `resources` for bigram (vocab_size) and balanced (the counts).
std::unique_ptr<Router> make_hash_router(const MoEOptions& options,
                                         const RouterResources& resources);

/// Experts of each token id, int64 [V, K]: ids by falling frequency (ties: lower id) go to the K
/// experts with the least frequency so far (ties: lower expert), each of which gains the id's.
at::Tensor balanced_table(const at::Tensor& token_counts_V, int64_t num_experts, int64_t top_k);

}  // namespace switchyard
