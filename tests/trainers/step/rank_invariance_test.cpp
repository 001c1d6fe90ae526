#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "parallel/comm/thread_communicator.h"
#include "tests/support/largest.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_config.h"
#include "trainers/step/trace_folder.h"
#include "trainers/step/train_step.h"

// The number of ranks and the expert axis change nothing but rounding.

using namespace switchyard;
using switchyard::test::Largest;
using switchyard::test::TempFolder;

namespace {

TrainConfig base_config(const std::string& precision) {
  TrainConfig config = test::tiny_config();
  config.train.steps = 50;
  config.train.sequences_per_step = 16;
  config.train.micro_sequences = 8;  // accumulation 2
  config.train.precision = precision;
  config.optim.warmup_steps = 5;
  return config;
}

BalanceOptions load_balance(const std::string& scope) {
  BalanceOptions term;
  term.scope = scope;
  return term;
}

// Capacity 1.25 in the given order, jitter, gshard's random second expert, loss-free bias,
// accumulation 2.
TrainConfig gshard_config(const std::string& precision, const std::string& order) {
  TrainConfig config = base_config(precision);
  config.moe.top_k = 2;
  config.moe.router.type = "gshard";
  config.moe.router.jitter = 0.05;
  config.moe.capacity.factor = 1.25;
  config.moe.capacity.order = order;
  config.moe.bias.type = "sign";
  config.moe.balance = {load_balance("step"), load_balance("sequence")};
  return config;
}

// What gathers keys, walks rankings and moves a factor and biases over all ranks.
TrainConfig overflow_config(const std::string& precision) {
  TrainConfig config = gshard_config(precision, "random");
  config.moe.capacity.factor = 1.0;
  config.moe.capacity.overflow = "next_choice";
  config.moe.capacity.scope = "sequences";
  config.moe.capacity.scope_sequences = 3;
  config.moe.capacity.dynamic = DynamicCapacity{0.9, 1.5, 0.01};
  config.moe.bias.type = "quantile";
  return config;
}

TrainConfig deepseek_config(const std::string& precision) {
  TrainConfig config = base_config(precision);
  config.moe.top_k = 3;
  config.moe.shared_experts = 1;
  config.moe.router.type = "deepseek_v3";
  config.moe.router.groups = 4;
  config.moe.router.kept_groups = 2;
  config.moe.router.scale = 2.5;
  config.moe.bias.type = "sign";
  config.moe.balance = {load_balance("sequence")};
  return config;
}

// Zero, copy and constant experts, a latent width, and layers of different sizes.
TrainConfig mixed_config(const std::string& precision) {
  TrainConfig config = base_config(precision);
  config.moe.layer_experts = {4, 8};
  config.moe.num_experts = 4;
  config.moe.zero_experts = 1;
  config.moe.copy_experts = 1;
  config.moe.constant_experts = 2;
  config.moe.latent_dim = 16;
  config.moe.shared_experts = 1;
  config.moe.shared_gate = true;
  config.moe.capacity.factor = 1.25;
  config.moe.balance = {load_balance("step")};
  return config;
}

struct Trace {
  std::vector<double> nll;
  std::vector<std::string> decisions;        // of each step: the file that records its assignments
  std::vector<std::vector<double>> refused;  // of each step: what the capacity left of them
};

std::vector<double> refusals(const StepReport& report) {
  std::vector<double> all = report.moe.at("drop_rate");
  const auto& without = report.moe.at("tokens_without_expert");
  all.insert(all.end(), without.begin(), without.end());
  return all;
}

Trace train(TrainConfig config, int ranks, int64_t expert_axis) {
  const TempFolder temp;
  config.parallel.expert = expert_axis;
  config.train.record_routing = temp.path("trace");
  Trace trace;
  run_ranks(ranks, [&](Communicator& world) {
    const auto training = build_training(config, world, torch::kCPU);
    SystemFileOps files;
    training->trace =
        open_trace_folder(files, world, training->config, training->source->fingerprint());
    for (int64_t step = 0; step < config.train.steps; ++step) {
      const StepReport report = train_step(*training);
      if (world.rank() != 0) continue;
      trace.nll.push_back(report.nll);
      trace.refused.push_back(refusals(report));
    }
  });
  for (int64_t step = 1; step <= config.train.steps; ++step)
    trace.decisions.push_back(temp.read(fmt::format("trace/step-{:08}.safetensors", step)));
  return trace;
}

struct Layout {
  int ranks;
  int64_t expert_axis;
};
const std::vector<Layout> kLayouts = {{2, 1}, {2, 2}, {3, 1}, {4, 1}, {4, 2}, {4, 4}};

double relative(double a, double b) {
  return std::abs(a - b) / std::abs(b);
}

// Steps in which every token of every layer goes to the same experts in the same order.
int64_t same_decisions(const Trace& a, const Trace& b) {
  int64_t same = 0;
  for (size_t step = 0; step < a.decisions.size(); ++step)
    same += !a.decisions[step].empty() && a.decisions[step] == b.decisions[step];
  return same;
}

void check_fp64(const std::string& name, const TrainConfig& config) {
  const Trace one = train(config, 1, 1);
  REQUIRE(one.nll.back() < one.nll.front());
  const bool moves = one.decisions.front() != one.decisions.back();
  REQUIRE(moves);
  int64_t fewest = config.train.steps;
  Largest nll;
  for (const Layout& layout : kLayouts) {
    CAPTURE(name, layout.ranks, layout.expert_axis);
    const Trace many = train(config, layout.ranks, layout.expert_axis);
    const int64_t same = same_decisions(one, many);
    CHECK(same == config.train.steps);
    CHECK(many.refused == one.refused);
    Largest here;
    for (size_t step = 0; step < one.nll.size(); ++step)
      here.see(relative(many.nll[step], one.nll[step]));
    CHECK(here.value() <= 1e-12);
    nll.see(here.value());
    fewest = std::min(fewest, same);
  }
  std::cout << "invariance: " << name << ", fp64: decisions of " << fewest << " of "
            << config.train.steps << " steps identical on " << kLayouts.size()
            << " layouts of 2 to 4 ranks, nll within " << nll.value() << " of one rank's\n";
}

void check_fp32(const std::string& name, const TrainConfig& config) {
  const Trace one = train(config, 1, 1);
  for (const Layout& layout : {Layout{2, 2}, Layout{3, 1}, Layout{4, 2}}) {
    CAPTURE(name, layout.ranks, layout.expert_axis);
    const Trace many = train(config, layout.ranks, layout.expert_axis);
    const double first = relative(many.nll[0], one.nll[0]);
    const double last = relative(many.nll[49], one.nll[49]);
    std::cout << "invariance: " << name << ", fp32, " << layout.ranks << " ranks, expert axis "
              << layout.expert_axis << ": decisions of " << same_decisions(one, many)
              << " steps identical, relative nll difference " << first << " at step 1, " << last
              << " at step 50\n";
    const bool same_first = many.decisions[0] == one.decisions[0];
    CHECK(same_first);
    CHECK(first <= 1e-6);
    CHECK(last <= 1e-5);
  }
}

}  // namespace

TEST_CASE("invariance: fp64 training is the same for any number of ranks and expert axis") {
  for (const auto* order : {"position", "probability", "batch_priority"})
    check_fp64(std::string("gshard, capacity by ") + order, gshard_config("fp64", order));
  check_fp64("gshard, random order, next_choice, dynamic capacity, quantile bias",
             overflow_config("fp64"));
  check_fp64("deepseek_v3, groups, shared expert", deepseek_config("fp64"));
  check_fp64("4 and 8 latent experts beside free ones", mixed_config("fp64"));
}

TEST_CASE("invariance: fp32 training differs between rank counts by rounding only") {
  check_fp32("gshard, capacity by position", gshard_config("fp32", "position"));
  check_fp32("deepseek_v3, groups, shared expert", deepseek_config("fp32"));
}
