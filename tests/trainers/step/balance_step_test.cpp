#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "parallel/comm/thread_communicator.h"
#include "tests/support/tiny_config.h"
#include "trainers/step/train_step.h"

// Balance terms inside a training step: what is done once per step, and what a step moves.

using namespace switchyard;
using test::tiny_config;

namespace {

TrainConfig with_type(const std::string& type) {
  TrainConfig config = tiny_config();
  BalanceOptions term;
  term.type = type;
  config.moe.balance = {term};
  return config;
}

struct Run {
  std::vector<double> nll, aux, lambda;
  bool saves_lambda = false;
};

Run train(const TrainConfig& config, int ranks, int64_t steps) {
  Run run;
  run_ranks(ranks, [&](Communicator& world) {
    const auto training = build_training(config, world, torch::kCPU);
    for (int64_t step = 0; step < steps; ++step) {
      const StepReport report = train_step(*training);
      if (world.rank() != 0) continue;
      run.nll.push_back(report.nll);
      run.aux.push_back(report.aux_loss);
      if (training->relu_l1) run.lambda.push_back(training->relu_l1->coefficient());
    }
    if (world.rank() != 0) return;
    for (const auto& entry : training_state(*training))
      run.saves_lambda = run.saves_lambda || entry.name == "controllers.relu_l1";
  });
  return run;
}

}  // namespace

TEST_CASE("relu's λ moves after every step, the same on all ranks, and is saved") {
  TrainConfig config = tiny_config();
  config.moe.router.type = "relu";
  config.moe.balance.clear();
  config.moe.router.l1 = 0.01;
  const Run one = train(config, 1, 4), two = train(config, 2, 4);

  CHECK(one.saves_lambda);
  CHECK(one.lambda == two.lambda);
  // Each step multiplies or divides by 1.2, or leaves it where exactly K are active.
  double before = 0.01;
  for (const double lambda : one.lambda) {
    const double moved = std::max(lambda / before, before / lambda);
    CHECK((moved == Approx(1.2).epsilon(1e-12) || moved == 1.0));
    before = lambda;
  }
  CHECK(one.lambda.front() != 0.01);
  for (const double aux : one.aux) CHECK(aux > 0);
  CHECK_FALSE(train(tiny_config(), 1, 1).saves_lambda);
}

TEST_CASE("orthogonal counts once per step, whatever micro-batches and ranks") {
  const TrainConfig config = with_type("orthogonal");
  TrainConfig whole = config;
  whole.train.micro_sequences = 8;
  const Run one = train(whole, 1, 3);

  for (const Run& other : {train(config, 1, 3), train(config, 3, 3)})
    for (size_t step = 0; step < 3; ++step) {
      CHECK(other.aux[step] == Approx(one.aux[step]).epsilon(1e-12));
      CHECK(other.nll[step] == Approx(one.nll[step]).epsilon(1e-12));
    }
  CHECK(one.aux[2] < one.aux[0]);
}

TEST_CASE("A coefficient by step takes effect at its step") {
  TrainConfig config = with_type("token_entropy");
  config.moe.balance[0].coef = StepValue({{0, 0.0}, {2, 0.5}});
  const Run run = train(config, 1, 3);
  CHECK(run.aux[0] == 0);
  CHECK(run.aux[1] == 0);
  CHECK(run.aux[2] > 0.1);  // 0.5 · about ln 8
}
