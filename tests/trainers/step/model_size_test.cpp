#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/local_communicator.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "trainers/step/training.h"

using namespace switchyard;

TEST_CASE("The size of every recipe is the number of weights that its model has") {
  const test::TempFolder folder;
  const auto local = make_local_communicator();
  for (const auto& recipe :
       std::filesystem::directory_iterator(test::source_path("/configs/moe"))) {
    const std::string name = recipe.path().stem();
    CAPTURE(name);
    const auto path = folder.write(name + ".yaml", "base: switchyard/moe/" + name + R"(
model: {num_layers: 4, hidden_dim: 16, num_heads: 2, num_kv_heads: 1, head_dim: 8, max_seq_len: 16}
moe: {expert_dim: 8}
data: {num_domains: 4, content_tokens: 16}
)");
    const TrainConfig config = load_config(path, {}, test::source_path("/configs")).config;
    const auto training = build_training(config, *local, torch::kCPU);
    CHECK(model_size(training->config).total ==
          training->dense->data.numel() + training->experts->data.numel());
  }
}
