#include "core/moe/layers.h"

#include <catch2/catch.hpp>

using namespace switchyard;

TEST_CASE("The named layers are ordinary modules that learn") {
  torch::manual_seed(1);
  const auto x = torch::randn({32, 16}), target = torch::randn({32, 16});
  const auto trains = [&](auto layer) {
    torch::optim::Adam optimizer(layer->parameters(), 1e-2);
    double first = 0, last = 0;
    for (int step = 0; step < 30; ++step) {
      optimizer.zero_grad();
      const auto loss = (x + layer->forward(x) - target).square().mean();
      loss.backward();
      optimizer.step();
      last = loss.template item<double>();
      if (step == 0) first = last;
    }
    CHECK(last < 0.9 * first);
  };

  SECTION("SwitchMoE") {
    SwitchMoEOptions options;
    options.hidden_dim = 16;
    options.expert_dim = 32;
    trains(SwitchMoE(options));
  }
  SECTION("GShardMoE") {
    GShardMoEOptions options;
    options.hidden_dim = 16;
    options.expert_dim = 32;
    trains(GShardMoE(options));
  }
  SECTION("DeepSeekMoE") {
    DeepSeekMoEOptions options;
    options.hidden_dim = 16;
    options.expert_dim = 16;
    trains(DeepSeekMoE(options));
  }
}

TEST_CASE("DeepSeekMoE with a bias rate balances by its bias") {
  DeepSeekMoEOptions options;
  options.hidden_dim = 8;
  options.bias_rate = 0.1;
  options.groups = 4;
  options.kept_groups = 2;
  DeepSeekMoE layer(options);
  auto counts = torch::ones({16}, torch::kLong);
  counts[3] = 100;

  layer->update_router_bias({counts});

  CHECK(layer->router_bias_E[3].item<float>() == Approx(-0.1f));
  CHECK(layer->router_bias_E[0].item<float>() == Approx(0.1f));
}
