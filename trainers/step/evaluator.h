#pragma once

#include <cstdint>

#include "core/metrics/report.h"
#include "trainers/step/training.h"

namespace switchyard {

/// Which sequences an evaluation covers.
struct EvalSet {
  int64_t validation = 0;  ///< the first so many of the validation part; fewer when there are fewer
  int64_t training = 0;    ///< the first so many of the training stream
};

/// Experts that an evaluation gave the tokens of this rank: for each MoE layer and batch int32
/// [T, K] on the host, −1 = none, before drops.
using Choices = std::vector<std::vector<at::Tensor>>;

/// Loss per domain, excess loss (of validation sequences alone) and routing metrics. No gradients,
/// no random numbers, `eval_factor`. Where a token's experts may depend on later tokens
/// (expert_choice, a capacity that refuses by other keys than position) a second pass gives the
/// loss under token choice; where training assigns whole batches (base, sinkhorn) it gives the loss
/// under that. Collective; the report is the same on every rank, and does not depend on their
/// number. `choices`, where given, becomes those of this set.
EvalReport evaluate(Training& training, const EvalSet& set, Choices* choices = nullptr);

}  // namespace switchyard
