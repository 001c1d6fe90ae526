#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <limits>

#include "parallel/comm/thread_communicator.h"
#include "tests/support/largest.h"
#include "tests/support/tiny_config.h"
#include "trainers/step/train_step.h"

// What moves after a step beside the weights: router biases and the dynamic capacity factor.

using namespace switchyard;

namespace {

TrainConfig tiny(const std::string& bias) {
  TrainConfig config = test::tiny_config();
  config.moe.bias.type = bias;
  config.moe.bias.rate = 0.125;
  config.train.on_nan = "skip";
  return config;
}

TrainConfig with_dynamic_capacity(TrainConfig config) {
  config.moe.capacity.factor = 1.0;
  config.moe.capacity.dynamic = DynamicCapacity{0.5, 2.0, 0.0};
  return config;
}

torch::Tensor bias_of(const Training& training, size_t layer) {
  return training.model->moe_layers()[layer]->router_bias_E;
}

}  // namespace

TEST_CASE("traps: recomputation double count, c counted once even under recomputation") {
  test::Largest worst;
  for (const auto* type : {"sign", "proportional", "multiplicative", "pid", "quantile"}) {
    CAPTURE(type);
    std::vector<torch::Tensor> biases;
    for (const auto* recompute : {"none", "full"}) {
      TrainConfig config = tiny(type);
      config.train.recompute = recompute;
      run_ranks(1, [&](Communicator& world) {
        const auto training = build_training(config, world, torch::kCPU);
        for (int step = 0; step < 3; ++step) {
          const StepReport report = train_step(*training);
          int64_t assignments = 0;
          for (const int64_t count : report.load[0]) assignments += count;
          CHECK(assignments == 8 * 16 * 2);  // sequences, length, K
        }
        biases.push_back(bias_of(*training, 0).clone());
      });
    }
    CHECK(biases[0].ne(biases[0][0]).any().item<bool>());
    worst.see((biases[0] - biases[1]).abs().max().item<double>());
  }
  CHECK(worst.value() == 0);
  worst.print("traps: biases with and without recomputation");
}

TEST_CASE("traps: skipped step and bias, skipped steps never count") {
  test::Largest worst;
  for (const auto* type : {"sign", "pid", "quantile"}) {
    CAPTURE(type);
    run_ranks(1, [&](Communicator& world) {
      const auto training = build_training(with_dynamic_capacity(tiny(type)), world, torch::kCPU);
      train_step(*training);
      std::vector<torch::Tensor> before;
      for (const auto& buffer : training->model->buffers()) before.push_back(buffer.clone());
      const double factor = training->capacity_factor.item<double>();
      CHECK(factor == Approx(1.05));  // some assignments are refused, none are wanted

      torch::NoGradGuard no_grad;
      const auto head = training->model->head_VD();
      const double kept = head[0][0].item<double>();
      head[0][0] = std::numeric_limits<double>::quiet_NaN();
      {
        const at::AutoGradMode grad(true);
        CHECK(train_step(*training).skipped);
      }
      head[0][0] = kept;

      const auto after = training->model->buffers();
      for (size_t i = 0; i < after.size(); ++i)
        worst.see((after[i] - before[i]).abs().max().item<double>());
      CHECK(training->capacity_factor.item<double>() == factor);
      const at::AutoGradMode grad(true);
      CHECK_FALSE(train_step(*training).skipped);
    });
  }
  CHECK(worst.value() == 0);
  worst.print("traps: biases before and after a skipped step");
}

TEST_CASE("Biases, their memory and the capacity factor are state under global names") {
  TrainConfig config = with_dynamic_capacity(tiny("pid"));
  config.moe.bias.ema = 0.5;
  run_ranks(1, [&](Communicator& world) {
    const auto training = build_training(config, world, torch::kCPU);
    std::vector<std::string> names;
    for (const auto& item : training_state(*training)) names.push_back(item.name);
    for (const auto* name :
         {"layers.0.router_bias", "layers.1.router_bias_average", "layers.1.router_bias_integral",
          "layers.1.router_bias_error", "controllers.capacity_factor"})
      CHECK(std::find(names.begin(), names.end(), name) != names.end());
    for (const auto& parameter : training->model->named_parameters())
      CHECK(parameter.key().find("router_bias") == std::string::npos);
  });
}

TEST_CASE("A frozen bias stays while training goes on") {
  TrainConfig config = tiny("sign");
  config.moe.bias.freeze_after = 1;
  run_ranks(1, [&](Communicator& world) {
    const auto training = build_training(config, world, torch::kCPU);
    train_step(*training);
    const auto frozen = bias_of(*training, 1).clone();
    CHECK(frozen.abs().max().item<double>() == 0.125);
    train_step(*training);
    CHECK(bias_of(*training, 1).equal(frozen));
  });
}
