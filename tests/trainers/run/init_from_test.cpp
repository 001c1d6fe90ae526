#include "trainers/run/init_from.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/config/layers.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using test::TempFolder;

namespace {

TrainConfig config_of(const std::string& router, const std::string& table, int64_t seed) {
  TrainConfig config;
  config.model.vocab_size = 100;
  config.moe.balance.clear();
  config.moe.router.type = router;
  config.moe.router.table = table;
  config.run.seed = seed;
  return config;
}

/// What init_from says to a checkpoint of `saved`, which may hold `more`, and a run of `now`, and
/// the weight it gives.
std::pair<std::string, int64_t> start(const TrainConfig& saved, const TrainConfig& now,
                                      const StateList& more = {}) {
  const TempFolder temp;
  const auto alone = make_local_communicator();
  SystemFileOps files;
  LoadedConfig loaded;
  loaded.config = saved;
  CheckpointMetadata metadata;
  metadata.step = 10;
  metadata.run_id = "run";
  metadata.config = resolved_yaml(loaded);
  StateList kept = {{"w", torch::full({4}, 5, torch::kLong)}};
  kept.insert(kept.end(), more.begin(), more.end());
  const auto checkpoint = save_checkpoint(*alone, files, temp.path("checkpoints"), kept, metadata);
  StateList state = {{"w", torch::zeros({4}, torch::kLong)}};
  std::string text;
  try {
    init_from(*alone, files, checkpoint.folder, now, state);
  } catch (const CheckpointError& e) {
    text = e.what();
  }
  return {text, state[0].tensor[0].item<int64_t>()};
}

}  // namespace

TEST_CASE("Weights behind a hash table made from the seed need that seed") {
  for (const char* table : {"random", "bigram"}) {
    const auto [text, weight] = start(config_of("hash", table, 1), config_of("hash", table, 2));
    CHECK_THAT(text, Contains("step-00000010: run.init_from needs the same run.seed, from which "
                              "moe.router.table: " +
                              std::string(table) + " is made: 1 → 2"));
    CHECK(weight == 0);
    CHECK(start(config_of("hash", table, 2), config_of("hash", table, 2)).second == 5);
  }
}

TEST_CASE("Weights behind any other router take another seed") {
  CHECK(start(config_of("hash", "balanced", 1), config_of("hash", "balanced", 2)).second == 5);
  CHECK(start(config_of("top_k", "random", 1), config_of("top_k", "random", 2)).second == 5);
}

TEST_CASE("A dense model has no hash table, whatever its config says") {
  TrainConfig saved = config_of("hash", "random", 1), now = config_of("hash", "random", 2);
  saved.moe.layers.kind = now.moe.layers.kind = LayerPattern::Kind::kNone;
  CHECK(start(saved, now).second == 5);
}

TEST_CASE("Weights of another model are refused with what differs") {
  TrainConfig saved = config_of("top_k", "random", 1), now = saved;
  now.model.hidden_dim = 64;
  now.moe.top_k = 1;
  CHECK_THAT(start(saved, now).first,
             Contains("model.hidden_dim: 128 → 64") && Contains("moe.top_k: 2 → 1"));
}

TEST_CASE("A bias that the run would drop is named, on one line") {
  TrainConfig saved = config_of("top_k", "random", 1), now = saved;
  saved.moe.bias.type = "sign";
  CHECK_THAT(start(saved, now, {{"a\n\x1b[31m.router_bias", torch::zeros({4})}}).first,
             Contains("holds \"a\\n\\u001b[31m.router_bias\" of moe.bias.type: sign, but "
                      "moe.bias.type is none; allowed: a type that adds it"));
}

TEST_CASE("Rotary positions may be stretched where a checkpoint's are not") {
  const auto scaled = [](const char* type, int64_t max_seq_len) {
    TrainConfig config = config_of("top_k", "random", 1);
    config.model.rope_scaling.type = type;
    if (config.model.rope_scaling.type != "none") config.model.rope_scaling.factor = 4;
    config.model.max_seq_len = max_seq_len;
    return config;
  };
  TrainConfig longer = scaled("yarn", 512);
  // auto would be the longest sequence of now.
  CHECK_THAT(start(scaled("none", 128), longer).first,
             Contains("model.rope_scaling.original_max_seq_len: 128 → 512"));
  longer.model.rope_scaling.original_max_seq_len = 128;
  CHECK(start(scaled("none", 128), longer).first == "");
  CHECK(start(scaled("yarn", 128), longer).first == "");
  CHECK(start(scaled("linear", 128), scaled("linear", 512)).first == "");
  CHECK_THAT(start(scaled("yarn", 128), scaled("none", 128)).first,
             Contains("model.rope_scaling.type: yarn → none"));
}
