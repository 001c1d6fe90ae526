#include "core/kernels/adamw.h"

#include <ATen/ATen.h>
#include <torch/optim/adamw.h>

#include <catch2/catch.hpp>

#include "core/kernels/cpu/fast_root.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

struct State {
  explicit State(const at::Tensor& start)
      : param(start.clone()), exp_avg(at::zeros_like(start)), exp_avg_sq(at::zeros_like(start)) {}
  at::Tensor param, exp_avg, exp_avg_sq;
};

AdamWStep step_number(int64_t step) {
  AdamWStep result;
  result.lr = 3e-3 / static_cast<double>(step);
  result.weight_decay = 0.1;
  result.step = step;
  return result;
}

TEST_CASE("adamw_ is torch::optim::AdamW over 5 steps") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const int64_t size = GENERATE(1, 17, 40009);
  at::manual_seed(11);
  const at::Tensor start = at::randn({size}, test::of(dtype));
  State fused(start), plain(start);
  at::Tensor theirs = start.clone().requires_grad_();
  torch::optim::AdamW optimizer(
      {theirs}, torch::optim::AdamWOptions(1e-3).betas({0.9, 0.95}).weight_decay(0.1));
  for (int64_t step = 1; step <= 5; ++step) {
    const at::Tensor grad = at::randn({size}, test::of(dtype));
    AdamWStep update = step_number(step);
    update.grad_scale = 0.5;
    adamw_(fused.param, grad * 2, fused.exp_avg, fused.exp_avg_sq, update);
    reference::adamw_(plain.param, grad * 2, plain.exp_avg, plain.exp_avg_sq, update);
    theirs.mutable_grad() = grad;
    static_cast<torch::optim::AdamWOptions&>(optimizer.param_groups()[0].options()).lr(update.lr);
    optimizer.step();
  }
  const double bound = dtype == at::kDouble ? 1e-14 : 2e-6;
  CHECK(test::difference(fused.param, theirs) < bound);
  CHECK(test::difference(plain.param, theirs) < bound);
  CHECK(test::difference(fused.exp_avg, plain.exp_avg) < bound);
  CHECK(test::difference(fused.exp_avg_sq, plain.exp_avg_sq) < bound);
}

TEST_CASE("adamw_ gives the same bits for any cut into ranges") {
  at::manual_seed(12);
  const at::Tensor start = at::randn({4099}), grad = at::randn({4099});
  State whole(start), cut(start);
  adamw_(whole.param, grad, whole.exp_avg, whole.exp_avg_sq, step_number(1));
  for (const auto& [first, size] : {std::pair<int64_t, int64_t>{0, 1}, {1, 1022}, {1023, 3076}})
    adamw_(cut.param.narrow(0, first, size), grad.narrow(0, first, size),
           cut.exp_avg.narrow(0, first, size), cut.exp_avg_sq.narrow(0, first, size),
           step_number(1));
  CHECK(at::equal(whole.param, cut.param));
}

TEST_CASE("fast_root is within 1 unit in the last place, and 0 at 0") {
  CHECK(fast_root(0.0f) == 0.0f);
  double worst = 0;
  for (float x = 2e-38f; x < 1e38f; x *= 1.0037f) {
    const double exact = std::sqrt(static_cast<double>(x));
    const float rounded = static_cast<float>(exact);
    const double unit = std::nextafter(rounded, INFINITY) - rounded;
    worst = std::max(worst, std::abs(fast_root(x) - exact) / unit);
  }
  CHECK(worst <= 1.0);
}

TEST_CASE("squared_sum adds in fp64, the same for any number of threads") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble, at::kBFloat16);
  const int64_t size = GENERATE(0, 1, 70001);
  at::manual_seed(13);
  const at::Tensor x = at::randn({size}).to(dtype);
  CHECK(squared_sum(x) == Approx(reference::squared_sum(x)).epsilon(1e-13));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const double one = squared_sum(x);
  at::set_num_threads(2);
  const double two = squared_sum(x);
  at::set_num_threads(threads);
  if (dtype != at::kBFloat16) CHECK(one == two);
}

}  // namespace
}  // namespace switchyard
