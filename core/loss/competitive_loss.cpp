#include "core/loss/competitive_loss.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>

#include "core/base/error.h"

namespace switchyard {

at::Tensor competitive_loss(const at::Tensor& logits_TE, const at::Tensor& outputs_TED,
                            const at::Tensor& targets_TD) {
  const bool fits = logits_TE.dim() == 2 && outputs_TED.dim() == 3 && targets_TD.dim() == 2 &&
                    logits_TE.size(0) > 0 && outputs_TED.size(0) == logits_TE.size(0) &&
                    outputs_TED.size(1) == logits_TE.size(1) &&
                    targets_TD.size(0) == logits_TE.size(0) &&
                    targets_TD.size(1) == outputs_TED.size(2);
  SWITCHYARD_CHECK(fits, "logits [T, E], outputs [T, E, D] and targets [T, D] with T ≥ 1");
  const at::Tensor distances_TE = (targets_TD.unsqueeze(1) - outputs_TED).square().sum(-1);
  return -at::logsumexp(at::log_softmax(logits_TE, -1) - 0.5 * distances_TE, {-1}).mean();
}

}  // namespace switchyard
