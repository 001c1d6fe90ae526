#include "core/loss/competitive_loss.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "core/base/error.h"

using namespace switchyard;

namespace {

at::Tensor leaf(const at::Tensor& values) {
  return values.detach().clone().requires_grad_();
}

at::Tensor random(at::IntArrayRef shape, double scale) {
  return scale * torch::randn(shape, torch::kDouble);
}

}  // namespace

TEST_CASE("The competitive loss of hand-computed mixtures") {
  SECTION("two equal experts, one of them right") {
    // p = (½, ½); distances² 0 and 4; E = −log(½ + ½ e⁻²) = 0.566219.
    const auto logits = leaf(torch::zeros({1, 2}, torch::kDouble));
    const auto outputs = leaf(torch::tensor({1.0, 3.0}, torch::kDouble).reshape({1, 2, 1}));
    const auto loss = competitive_loss(logits, outputs, torch::ones({1, 1}, torch::kDouble));
    CHECK(loss.item<double>() == Approx(0.566219).epsilon(1e-6));

    // h = (1, e⁻²) / (1 + e⁻²) = (0.880797, 0.119203): ∂E/∂o = −h (d − o), ∂E/∂logit = p − h.
    loss.backward();
    CHECK(outputs.grad()[0][0].item<double>() == 0.0);
    CHECK(outputs.grad()[0][1].item<double>() == Approx(0.119203 * 2).epsilon(1e-5));
    CHECK(logits.grad()[0][0].item<double>() == Approx(0.5 - 0.880797).epsilon(1e-5));
    CHECK(logits.grad()[0][1].item<double>() == Approx(0.5 - 0.119203).epsilon(1e-5));
  }
  SECTION("targets of two numbers, the mean over tokens") {
    // p = (0.8, 0.2), distances² 1 and 2; then p = (½, ½), distances² 0 and 0, E = 0.
    const auto logits = torch::tensor({{std::log(4.0), 0.0}, {7.0, 7.0}}, torch::kDouble);
    const auto outputs =
        torch::tensor({0.0, 1.0, 2.0, 0.0, 5.0, 5.0, 5.0, 5.0}, torch::kDouble).reshape({2, 2, 2});
    const auto targets = torch::tensor({{1.0, 1.0}, {5.0, 5.0}}, torch::kDouble);
    const double first = -std::log(0.8 * std::exp(-0.5) + 0.2 * std::exp(-1.0));
    CHECK(competitive_loss(logits, outputs, targets).item<double>() == Approx(first / 2));
  }
  SECTION("a single expert is left with half its squared error") {
    const auto outputs = torch::tensor({3.0}, torch::kDouble).reshape({1, 1, 1});
    const auto loss = competitive_loss(torch::zeros({1, 1}, torch::kDouble), outputs,
                                       torch::zeros({1, 1}, torch::kDouble));
    CHECK(loss.item<double>() == Approx(4.5));
  }
}

TEST_CASE("The competitive loss weights each expert's error by its posterior") {
  torch::manual_seed(1);
  const int64_t T = 7, E = 4, D = 3;
  const auto logits = leaf(random({T, E}, 2.0)), outputs = leaf(random({T, E, D}, 1.5));
  const auto targets = random({T, D}, 1.5);
  competitive_loss(logits, outputs, targets).backward();

  for (int64_t t = 0; t < T; ++t) {
    const auto p = torch::softmax(logits.detach()[t], -1);
    const auto apart = targets[t] - outputs.detach()[t];
    auto h = p * torch::exp(-0.5 * apart.square().sum(-1));
    h = h / h.sum();
    CHECK(torch::allclose(logits.grad()[t], (p - h) / T, 1e-10, 1e-13));
    CHECK(torch::allclose(outputs.grad()[t], -h.unsqueeze(1) * apart / T, 1e-10, 1e-13));
  }
}

TEST_CASE("The gradients of the competitive loss equal differences of its values") {
  torch::manual_seed(2);
  const auto targets = random({3, 2}, 1.0);
  const auto logits = leaf(random({3, 4}, 1.0)), outputs = leaf(random({3, 4, 2}, 1.0));
  competitive_loss(logits, outputs, targets).backward();

  const double step = 1e-6;
  double worst = 0.0;
  for (const auto& input : {logits, outputs}) {
    at::NoGradGuard guard;
    auto values = input.view(-1);
    for (int64_t i = 0; i < values.numel(); ++i) {
      const double kept = values[i].item<double>();
      values[i] = kept + step;
      const double above = competitive_loss(logits, outputs, targets).item<double>();
      values[i] = kept - step;
      const double below = competitive_loss(logits, outputs, targets).item<double>();
      values[i] = kept;
      const double measured = (above - below) / (2 * step);
      worst = std::max(worst, std::abs(measured - input.grad().view(-1)[i].item<double>()));
    }
  }
  CAPTURE(worst);
  CHECK(worst < 1e-9);
}

TEST_CASE("The competitive loss stays finite far from the target") {
  // exp(−½ · 100²) is 0 in fp64; the loss is 5000, and each expert feels half of the pull.
  const auto outputs = leaf(torch::full({1, 2, 1}, 100.0, torch::kDouble));
  const auto loss = competitive_loss(torch::zeros({1, 2}, torch::kDouble), outputs,
                                     torch::zeros({1, 1}, torch::kDouble));
  CHECK(loss.item<double>() == Approx(5000.0));
  loss.backward();
  CHECK(outputs.grad()[0][0].item<double>() == Approx(50.0));
}

TEST_CASE("The competitive loss refuses shapes that do not fit") {
  const auto logits = torch::zeros({2, 3}), targets = torch::zeros({2, 1});
  CHECK_THROWS_AS(competitive_loss(logits, torch::zeros({2, 4, 1}), targets), InternalError);
  CHECK_THROWS_AS(competitive_loss(logits, torch::zeros({2, 3, 2}), targets), InternalError);
  CHECK_THROWS_AS(competitive_loss(torch::zeros({0, 3}), torch::zeros({0, 3, 1}), targets),
                  InternalError);
}
