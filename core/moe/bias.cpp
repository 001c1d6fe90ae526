#include "core/moe/bias.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/moe/column_quantile.h"

namespace switchyard {
namespace {

// Averaged counts carry rounding: what lies within it of the mean counts as balanced.
constexpr double kBalanced = 1e-12;

// sign(Σc − E·c), of integers or of averages of them.
at::Tensor sign_of_lack(const at::Tensor& counts_E) {
  const at::Tensor lack_E = counts_E.sum() - counts_E * counts_E.size(0);
  if (!counts_E.is_floating_point()) return lack_E.sign().to(at::kDouble);
  return lack_E.sign().masked_fill(lack_E.abs().le(counts_E.sum() * kBalanced), 0);
}

at::Tensor relative_lack(const at::Tensor& counts_E) {
  const at::Tensor counts = counts_E.to(at::kDouble), mean = counts.mean();
  return (mean - counts) / mean;
}

void store(const at::Tensor& value_E, at::Tensor& state_E) {
  state_E.copy_(value_E);
}

at::Tensor averaged(const BiasOptions& options, const at::Tensor& counts_E, BiasState& state) {
  if (options.ema == 0) return counts_E;
  const at::Tensor average_E = state.average_E.to(at::kCPU, at::kDouble) * options.ema +
                               counts_E.to(at::kDouble) * (1 - options.ema);
  store(average_E, state.average_E);
  return average_E;
}

at::Tensor pid_change(const BiasOptions& options, const at::Tensor& counts_E, BiasState& state) {
  const at::Tensor error_E = relative_lack(counts_E);
  const at::Tensor integral_E = state.integral_E.to(at::kCPU, at::kDouble) + error_E;
  const at::Tensor last_E = state.error_E.to(at::kCPU, at::kDouble);
  const at::Tensor change_E =
      error_E * options.kp + integral_E * options.ki + (error_E - last_E) * options.kd;
  store(integral_E, state.integral_E);
  store(error_E, state.error_E);
  return change_E;
}

at::Tensor quantile_bias(const BiasStep& step, int64_t num_experts) {
  SWITCHYARD_CHECK(!step.margins.empty(), "the quantile rule needs the step's margins");
  at::Tensor tokens = at::zeros({1}, at::kLong);
  for (const at::Tensor& margins_TE : step.margins) tokens += margins_TE.size(0);
  if (step.communicator) step.communicator->all_reduce({tokens}, ReduceOp::kSum)->wait();
  const int64_t T = tokens.item<int64_t>();
  if (T == 0) return {};
  const int64_t rank = T * step.top_k / num_experts + 1;
  const at::Tensor bias_E =
      -column_kth_largest(step.margins, rank, step.communicator).to(at::kDouble);
  return bias_E - bias_E.mean();
}

}  // namespace

BiasState make_bias_state(const BiasOptions& options, int64_t num_experts) {
  BiasState state;
  if (options.type == "none") return state;
  state.bias_E = options.multiplies() ? at::ones({num_experts}) : at::zeros({num_experts});
  if (options.ema > 0) state.average_E = at::zeros({num_experts});
  if (options.type == "pid") {
    state.integral_E = at::zeros({num_experts});
    state.error_E = at::zeros({num_experts});
  }
  return state;
}

void update_bias(const BiasOptions& options, const BiasStep& step, BiasState& state) {
  if (options.type == "none") return;
  if (options.freeze_after && step.step >= *options.freeze_after) return;
  if (options.type == "quantile") {
    const at::Tensor bias_E = quantile_bias(step, state.bias_E.numel());
    if (bias_E.defined()) store(bias_E, state.bias_E);
    return;
  }
  const at::Tensor counts_E = step.counts_E.cpu();
  if (counts_E.sum().item<int64_t>() == 0) return;
  const at::Tensor load_E = averaged(options, counts_E, state);
  at::Tensor change_E;
  if (options.type == "sign" || options.type == "multiplicative") {
    change_E = sign_of_lack(load_E) * options.rate.at(step.step);
  } else if (options.type == "proportional") {
    change_E = relative_lack(load_E) * options.rate.at(step.step);
  } else {
    SWITCHYARD_CHECK(options.type == "pid", "bias rule {}", options.type);
    change_E = pid_change(options, load_E, state);
  }
  at::Tensor bias_E = state.bias_E.to(at::kCPU, at::kDouble) + change_E;
  if (options.zero_mean) bias_E = bias_E - bias_E.mean();
  store(bias_E, state.bias_E);
}

at::Tensor quantile_margins(const at::Tensor& scores_TE, const at::Tensor& bias_E, int64_t top_k) {
  const at::Tensor scores = scores_TE.detach();
  SWITCHYARD_CHECK(top_k < scores.size(1), "K {} of {} experts", top_k, scores.size(1));
  const at::Tensor keys_TE = bias_E.defined() ? scores + bias_E.to(scores.dtype()) : scores;
  const at::Tensor best_TK = std::get<0>(at::topk(keys_TE, top_k + 1, -1));
  return scores - best_TK.narrow(1, top_k, 1);
}

}  // namespace switchyard
