#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// What distinguishes one published top-k router from another.
struct TopKRule {
  enum class Score { kSoftmax, kSigmoid, kSqrtSoftplus };
  enum class Groups { kMax, kTopTwoSum };  ///< score of a group: DeepSeek-V2, DeepSeek-V3
  enum class Weights { kScore, kNormalized, kSoftmaxOfKept };

  int64_t num_experts = 1;
  int64_t top_k = 1;
  Score score = Score::kSoftmax;
  Groups groups = Groups::kMax;
  int64_t num_groups = 1;
  int64_t kept_groups = 1;
  Weights weights = Weights::kScore;
  bool multiplicative_bias = false;  ///< select by s·b, not s + b
};

std::unique_ptr<Router> make_top_k_router(const TopKRule& rule);

/// keys_TE with every expert outside the best `kept_groups` groups at −inf. Groups are equal blocks
/// of consecutive experts; ties go to the lower group.
at::Tensor limit_to_groups(const at::Tensor& keys_TE, const TopKRule& rule);

}  // namespace switchyard
