#include "core/kernels/linear_cross_entropy.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

template <class F>
test::Operation loss_of(const at::Tensor& targets, const F& form) {
  return [targets, form](const std::vector<at::Tensor>& in) {
    return (form(in[0], in[1], targets).nll_sum * 0.37).unsqueeze(0);
  };
}

TEST_CASE("linear_cross_entropy agrees with LibTorch's loss in value and gradients") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  // The last two are cut into several chunks.
  const auto [T, D, V] = GENERATE(table<int64_t, int64_t, int64_t>(
      {{0, 3, 5}, {1, 1, 1}, {7, 5, 13}, {131, 17, 300}, {601, 4, 20011}, {300, 3, 16500}}));
  at::manual_seed(8);
  const at::Tensor targets = at::randint(-1, V, {T}, at::kLong);
  const std::vector<at::Tensor> inputs{at::randn({T, D}, test::of(dtype)),
                                       at::randn({V, D}, test::of(dtype))};
  const auto torch_own = [&](const std::vector<at::Tensor>& in) {
    const at::Tensor nll = at::nll_loss(at::log_softmax(at::mm(in[0], in[1].t()), -1), targets, {},
                                        at::Reduction::Sum, -1);
    return (nll.to(at::kDouble) * 0.37).unsqueeze(0);
  };
  CHECK(test::disagreement(loss_of(targets, linear_cross_entropy), torch_own, inputs) <
        test::tolerance(dtype));
  CHECK(test::disagreement(loss_of(targets, reference::linear_cross_entropy), torch_own, inputs) <
        test::tolerance(dtype));
}

TEST_CASE("linear_cross_entropy's gradients are those of finite differences") {
  at::manual_seed(9);
  const at::Tensor targets = at::tensor({2, -1, 0, 6}, at::kLong);
  CHECK(test::gradient_error(loss_of(targets, linear_cross_entropy),
                             {at::randn({4, 3}, test::of(at::kDouble)),
                              at::randn({7, 3}, test::of(at::kDouble))}) < 1e-7);
}

TEST_CASE("linear_cross_entropy reports each token's loss, zero where not scored") {
  const at::Tensor x = at::zeros({3, 2}), weight = at::randn({8, 2});
  const CrossEntropy loss = linear_cross_entropy(x, weight, at::tensor({1, -1, 7}, at::kLong));
  CHECK(loss.nll_sum.scalar_type() == at::kDouble);
  CHECK_FALSE(loss.nll_T.requires_grad());
  const float ln8 = std::log(8.0f);
  CHECK(test::difference(loss.nll_T, at::tensor({ln8, 0.0f, ln8})) < 1e-6);
  CHECK(loss.nll_sum.item<double>() == Approx(2 * ln8));
}

TEST_CASE("linear_cross_entropy serves a matrix that is used elsewhere too") {
  at::manual_seed(10);
  const at::Tensor targets = at::randint(0, 11, {6}, at::kLong);
  const auto tied = [&](const auto& form) {
    return [&targets, form](const std::vector<at::Tensor>& in) {
      const at::Tensor x = at::embedding(in[0], at::arange(6));
      return (form(x, in[0], targets).nll_sum + in[0].square().sum()).unsqueeze(0);
    };
  };
  CHECK(test::disagreement(tied(linear_cross_entropy), tied(reference::linear_cross_entropy),
                           {at::randn({11, 4}, test::of(at::kDouble))}) < 1e-12);
}

TEST_CASE("linear_cross_entropy is exact where exponentials overflow") {
  const at::Tensor x = at::full({1, 1}, 1000.0), weight = at::tensor({1.0, -1.0, 0.5}).view({3, 1});
  const CrossEntropy loss = linear_cross_entropy(x, weight, at::tensor({1}, at::kLong));
  CHECK(loss.nll_sum.item<double>() == Approx(2000.0));
}

TEST_CASE("linear_cross_entropy of bf16 has an fp32 softmax") {
  const at::Tensor x = at::randn({5, 8}).to(at::kBFloat16), weight = at::randn({9, 8});
  const at::Tensor targets = at::randint(0, 9, {5}, at::kLong);
  const CrossEntropy loss = linear_cross_entropy(x, weight, targets);
  CHECK(loss.nll_T.scalar_type() == at::kFloat);
  CHECK(loss.nll_sum.item<double>() ==
        Approx(linear_cross_entropy(x.to(at::kFloat), weight, targets).nll_sum.item<double>())
            .epsilon(0.02));
}

}  // namespace
}  // namespace switchyard
