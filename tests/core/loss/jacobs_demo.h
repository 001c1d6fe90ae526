#pragma once

#include <torch/torch.h>

#include <cmath>
#include <set>

#include "core/base/counter_rng.h"
#include "core/loss/competitive_loss.h"
#include "core/moe/routers/router.h"
#include "tests/support/routing.h"

namespace switchyard::test::jacobs {

// The smallest mixture of experts that can show what Jacobs et al. 1991 claim: a line, four regions
// with a linear law each, linear experts, a linear softmax gate, all of it trained together.

constexpr int64_t kPoints = 200, kRegions = 4;
constexpr double kLeft = -2.0, kRight = 2.0, kNoise = 0.1;

/// A zigzag between −3 and 3: slope ±6, one straight piece per region.
inline double law(double x) {
  const double phase = x - kLeft - 2.0 * std::floor((x - kLeft) / 2.0);
  return phase < 1.0 ? -3.0 + 6.0 * phase : 3.0 - 6.0 * (phase - 1.0);
}

inline double normal(uint64_t seed, uint64_t what, int64_t element) {
  return inverse_normal_cdf(uniform({seed, what, static_cast<uint64_t>(element)}) + 0x1.0p-54);
}

inline at::Tensor normals(uint64_t seed, uint64_t what, at::IntArrayRef shape) {
  auto values = torch::empty(shape, torch::kDouble);
  for (int64_t i = 0; i < values.numel(); ++i) values.data_ptr<double>()[i] = normal(seed, what, i);
  return values;
}

/// kPoints values of x, evenly spaced; targets are law(x) and normal noise of kNoise.
struct Task {
  at::Tensor x_T, targets_T;
};

inline Task make_task(uint64_t seed) {
  const double step = (kRight - kLeft) / kPoints;
  Task task{torch::arange(kPoints, torch::kDouble) * step + (kLeft + step / 2), {}};
  task.targets_T = kNoise * normals(seed, 1, {kPoints});
  for (int64_t t = 0; t < kPoints; ++t) task.targets_T[t] += law(task.x_T[t].item<double>());
  return task;
}

/// What a mixture says at given x: its gate's shares and every expert's output.
struct Answer {
  at::Tensor logits_TE, shares_TE, outputs_TE;
  at::Tensor mixture_T() const { return (shares_TE * outputs_TE).sum(-1); }
};

/// Expert i: o_i = a_i x + b_i. Gate: the soft router's softmax of v_i x + c_i.
struct Mixture {
  at::Tensor gate_2E, experts_2E;

  Answer operator()(const at::Tensor& x_T) const {
    const int64_t E = gate_2E.size(1);
    const auto x_T2 = torch::stack({x_T, torch::ones_like(x_T)}, 1);
    const auto router = make_router(router_options("soft", E, E));
    const auto decision = router->decide({x_T2.matmul(gate_2E), {}, {}}, {}, RoutingContext{});
    return {decision.logits_TE, decision.scores_TE, x_T2.matmul(experts_2E)};
  }
};

enum class Objective { kCompetitive, kCooperative };

inline const char* name(Objective objective) {
  return objective == Objective::kCompetitive ? "competitive" : "co-operative";
}

inline at::Tensor loss(Objective objective, const Answer& answer, const at::Tensor& targets_T) {
  if (objective == Objective::kCooperative) return (targets_T - answer.mixture_T()).square().mean();
  return competitive_loss(answer.logits_TE, answer.outputs_TE.unsqueeze(-1),
                          targets_T.unsqueeze(-1));
}

/// The same first weights and targets for both objectives of a seed; Adam on all points at once.
inline Mixture train(Objective objective, uint64_t seed, int64_t num_experts, int64_t steps) {
  const Task task = make_task(seed);
  Mixture mixture{0.1 * normals(seed, 2, {2, num_experts}), normals(seed, 3, {2, num_experts})};
  mixture.gate_2E.requires_grad_();
  mixture.experts_2E.requires_grad_();
  torch::optim::Adam adam({mixture.gate_2E, mixture.experts_2E}, torch::optim::AdamOptions(0.05));
  for (int64_t step = 0; step < steps; ++step) {
    adam.zero_grad();
    loss(objective, mixture(task.x_T), task.targets_T).backward();
    adam.step();
  }
  return {mixture.gate_2E.detach(), mixture.experts_2E.detach()};
}

/// Who owns what, measured on the training points. A region's owner is the expert with the largest
/// share of its gate.
struct Ownership {
  double share = 0.0;          ///< mean over regions of the owner's share
  int64_t owners = 0;          ///< distinct owners
  double experts_used = 0.0;   ///< exp of the gate's mean entropy: experts in use at a point
  double mixture_error = 0.0;  ///< mean squared error of Σ p_i o_i
  double owner_error = 0.0;    ///< mean squared error of each region's owner alone
};

inline Ownership measure(const Mixture& mixture, const Task& task) {
  const Answer answer = mixture(task.x_T);
  Ownership found;
  found.mixture_error = (task.targets_T - answer.mixture_T()).square().mean().item<double>();
  found.experts_used =
      std::exp(-(torch::xlogy(answer.shares_TE, answer.shares_TE).sum(-1).mean().item<double>()));
  const auto errors_TE = (task.targets_T.unsqueeze(1) - answer.outputs_TE).square();
  const int64_t length = kPoints / kRegions;
  std::set<int64_t> owners;
  for (int64_t r = 0; r < kRegions; ++r) {
    const auto shares_E = answer.shares_TE.narrow(0, r * length, length).mean(0);
    const int64_t owner = shares_E.argmax().item<int64_t>();
    owners.insert(owner);
    found.share += shares_E[owner].item<double>() / kRegions;
    found.owner_error +=
        errors_TE.narrow(0, r * length, length).mean(0)[owner].item<double>() / kRegions;
  }
  found.owners = static_cast<int64_t>(owners.size());
  return found;
}

}  // namespace switchyard::test::jacobs
