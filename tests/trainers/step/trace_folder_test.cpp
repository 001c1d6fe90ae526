#include "trainers/step/trace_folder.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/temp_folder.h"
#include "trainers/step/train_step.h"

using namespace switchyard;
using switchyard::test::TempFolder;

namespace {

TrainConfig small_config() {
  TrainConfig config;
  config.model.num_layers = 2;
  config.model.hidden_dim = 32;
  config.model.num_heads = 2;
  config.model.num_kv_heads = 1;
  config.model.head_dim = 16;
  config.model.max_seq_len = 8;
  config.moe.layers.kind = LayerPattern::Kind::kFirstDense;
  config.moe.layers.first_dense = 1;
  config.moe.num_experts = 8;
  config.moe.expert_dim = 16;
  config.data.num_domains = 4;
  config.data.content_tokens = 16;
  config.train.steps = 4;
  config.train.sequences_per_step = 8;
  config.train.micro_sequences = 4;
  config.train.precision = "fp64";
  return config;
}

// nll of each step, and the loads of its one MoE layer.
struct Steps {
  std::vector<double> nll;
  std::vector<std::vector<int64_t>> load;
};

Steps train(const TrainConfig& config, int ranks) {
  Steps result;
  run_ranks(ranks, [&](Communicator& world) {
    auto training = build_training(config, world, at::kCPU);
    SystemFileOps files;
    training->trace = open_trace_folder(files, world, training->config);
    for (int64_t step = 0; step < config.train.steps; ++step) {
      const StepReport report = train_step(*training);
      if (world.rank() != 0) continue;
      result.nll.push_back(report.nll);
      result.load.push_back(report.load[0]);
    }
  });
  return result;
}

std::string error_of(const TrainConfig& config) {
  try {
    train(config, 2);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Recorded assignments give the same run again, on any number of ranks") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.train.record_routing = temp.path("trace");
  const Steps recorded = train(config, 2);
  CHECK(std::filesystem::exists(temp.path("trace/step-00000004.safetensors")));

  TrainConfig other = small_config();
  other.train.replay_routing = temp.path("trace");
  for (const int ranks : {1, 3}) {
    const Steps replayed = train(other, ranks);
    CHECK(replayed.load == recorded.load);
    for (size_t step = 0; step < recorded.nll.size(); ++step)
      CHECK(replayed.nll[step] == Approx(recorded.nll[step]).epsilon(1e-12));
  }
}

TEST_CASE("A replayed run follows the assignments and not its own router") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.moe.force = {"one", 0};
  config.train.record_routing = temp.path("trace");
  config.train.recompute = "full";  // each layer decides twice
  train(config, 1);

  TrainConfig other = small_config();
  other.train.replay_routing = temp.path("trace");
  other.train.record_routing = temp.path("again");
  const std::vector<int64_t> all_to_two = {64, 64, 0, 0, 0, 0, 0, 0};
  for (const auto& load : train(other, 2).load) CHECK(load == all_to_two);
  CHECK(temp.read("again/step-00000003.safetensors") ==
        temp.read("trace/step-00000003.safetensors"));
}

TEST_CASE("Assignments of another model are refused, with what differs") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.train.record_routing = temp.path("trace");
  train(config, 1);

  TrainConfig other = small_config();
  other.train.replay_routing = temp.path("trace");
  SECTION("experts") {
    other.moe.num_experts = 16;
    CHECK_THAT(error_of(other), Catch::Contains("step-00000001.safetensors was recorded with "
                                                "moe.num_experts: 8, this run has 16"));
  }
  SECTION("layers") {
    other.moe.layers.kind = LayerPattern::Kind::kAll;
    CHECK_THAT(error_of(other), Catch::Contains("recorded with MoE layers: 1, this run has 0, 1"));
  }
  SECTION("steps") {
    other.train.steps = 5;
    CHECK_THAT(error_of(other), Catch::Contains("step-00000005.safetensors is missing"));
  }
  SECTION("a damaged file") {
    std::filesystem::resize_file(temp.path("trace/step-00000002.safetensors"), 100);
    CHECK_THAT(error_of(other), Catch::Contains("step-00000002.safetensors"));
  }
}
