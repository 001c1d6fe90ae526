#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

struct ExpertChoiceRule {
  enum class Pool { kMicroBatch, kSequence, kTokens };

  int64_t num_experts = 1;
  int64_t top_k = 1;  ///< experts of a token on average
  Pool pool = Pool::kMicroBatch;
  int64_t pool_tokens = 0;  ///< kTokens: consecutive tokens of the micro-batch in one pool
};

/// Expert choice (Zhou 2022, section 3.2): in each pool of T tokens every expert takes its
/// ceil(K·T/E) best tokens by softmax score, ties to the lower token; slot_TK is the token's place
/// there. Weights are the scores. Later tokens of the pool matter to earlier ones. Evaluation by
/// token choice is plain top-k with the same weights. Collective, unless the pool is a sequence.
std::unique_ptr<Router> make_expert_choice_router(const ExpertChoiceRule& rule);

}  // namespace switchyard
