#include "core/moe/shared_experts.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/moe/moe_layer.h"

using namespace switchyard;

namespace {

// One token x = (1, 2); one unit of width: gate w·x = 1·1 = 1, up = 2·2 = 4, down (1, 3).
SharedExperts one_unit(bool gated) {
  SharedExperts shared(2, 1, gated);
  torch::NoGradGuard no_grad;
  shared->gate_up.copy_(torch::tensor({1.0, 0.0, 0.0, 2.0}).view({2, 2}));
  shared->down.copy_(torch::tensor({1.0, 3.0}).view({2, 1}));
  return shared;
}

const double kSilu1 = 1 / (1 + std::exp(-1.0));

}  // namespace

TEST_CASE("Shared experts are one feed-forward that every token goes through") {
  const auto y = one_unit(false)->forward(torch::tensor({{1.0f, 2.0f}}));

  CHECK(y[0][0].item<double>() == Approx(kSilu1 * 4));
  CHECK(y[0][1].item<double>() == Approx(kSilu1 * 4 * 3));
}

TEST_CASE("The shared gate multiplies the shared output by sigmoid(w x)") {
  auto shared = one_unit(true);
  torch::NoGradGuard no_grad;
  shared->gate_1D.copy_(torch::tensor({{-1.0f, 1.0f}}));  // w·x = −1 + 2 = 1

  const auto y = shared->forward(torch::tensor({{1.0f, 2.0f}}));

  CHECK(y[0][0].item<double>() == Approx(kSilu1 * kSilu1 * 4));
  CHECK(y[0][1].item<double>() == Approx(kSilu1 * kSilu1 * 4 * 3));
}

TEST_CASE("The shared gate is computed in fp32 when activations are bf16") {
  auto shared = one_unit(true);
  torch::NoGradGuard no_grad;
  // In bf16 257 is 256, and the gate would be sigmoid(0).
  shared->gate_1D.copy_(torch::tensor({{257.0f, -128.0f}}));

  const auto y = shared->forward(torch::tensor({{1.0f, 2.0f}}).to(torch::kBFloat16));

  CHECK(y.scalar_type() == torch::kBFloat16);
  CHECK(y[0][0].item<double>() == Approx(kSilu1 * kSilu1 * 4).epsilon(0.01));
}

TEST_CASE("Residual experts: a dense feed-forward as wide as an expert, plus the routed expert") {
  MoELayerOptions options;
  options.hidden_dim = 2;
  options.moe.num_experts = 3;
  options.moe.top_k = 1;
  options.moe.expert_dim = 5;
  options.moe.residual = true;
  MoELayer layer(options);
  options.moe.residual = false;
  MoELayer routed(options);
  const auto x = torch::tensor({{1.0f, 2.0f}, {-1.0f, 0.5f}});

  CHECK(layer->shared->down.sizes() == torch::IntArrayRef({2, 5}));
  CHECK(torch::allclose(layer->forward(x), routed->forward(x) + layer->shared->forward(x)));
}
