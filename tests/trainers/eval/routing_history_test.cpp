#include "trainers/eval/routing_history.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <set>

#include "parallel/comm/thread_communicator.h"
#include "tests/support/largest.h"
#include "tests/support/run_program.h"
#include "tests/support/tiny_config.h"
#include "trainers/step/train_step.h"

using namespace switchyard;

namespace {

constexpr int kCheckpoints = 3;
constexpr int64_t kSequences = 10;
using Metrics = std::map<std::string, std::vector<double>>;

const std::vector<std::string> kNames = {"saturation", "saturation_first", "churn", "churn_first"};

/// Trains two steps between one evaluation and the next.
std::vector<Choices> choices_of_run(Communicator& world, const TrainConfig& config) {
  const auto training = build_training(config, world, torch::kCPU);
  std::vector<Choices> all(kCheckpoints);
  for (Choices& choices : all) {
    for (int step = 0; step < 2; ++step) train_step(*training);
    evaluate(*training, {.validation = kSequences}, &choices);
  }
  return all;
}

/// The four metrics of each checkpoint.
std::vector<Metrics> history_of(const TrainConfig& config, int ranks) {
  std::vector<Metrics> found;
  run_ranks(ranks, [&](Communicator& world) {
    const std::vector<Choices> all = choices_of_run(world, config);
    RoutingHistory history(world, all.back());
    std::vector<Metrics> mine;
    for (const Choices& choices : all) {
      EvalReport report;
      history.describe(choices, report);
      mine.push_back(report.moe);
    }
    if (world.rank() == 0) found = mine;
  });
  return found;
}

/// Experts of every token of a layer, in choice order.
std::vector<std::vector<int>> lists_of(const std::vector<at::Tensor>& batches) {
  std::vector<std::vector<int>> lists;
  for (const at::Tensor& ids_TK : batches)
    for (int64_t token = 0; token < ids_TK.size(0); ++token) {
      auto& list = lists.emplace_back();
      for (int64_t k = 0; k < ids_TK.size(1); ++k)
        if (const int id = ids_TK[token][k].item<int>(); id >= 0) list.push_back(id);
    }
  return lists;
}

/// Share of the reference's choices, and of its first choices, that `other` makes: token by token.
std::pair<double, double> share(const std::vector<at::Tensor>& reference,
                                const std::vector<at::Tensor>& other) {
  const auto wanted = lists_of(reference), given = lists_of(other);
  REQUIRE(wanted.size() == given.size());
  double shared = 0, all = 0, first = 0, tokens = 0;
  for (size_t token = 0; token < wanted.size(); ++token) {
    const std::set<int> has(given[token].begin(), given[token].end());
    for (const int expert : wanted[token]) shared += static_cast<double>(has.count(expert));
    all += static_cast<double>(wanted[token].size());
    if (wanted[token].empty()) continue;
    ++tokens;
    if (!given[token].empty() && given[token][0] == wanted[token][0]) ++first;
  }
  return {shared / all, first / tokens};
}

std::vector<Metrics> expected(const TrainConfig& config) {
  std::vector<Choices> all;
  run_ranks(1, [&](Communicator& world) { all = choices_of_run(world, config); });
  std::vector<Metrics> metrics(all.size());
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t layer = 0; layer < all[i].size(); ++layer) {
      const auto [saturation, saturation_first] = share(all.back()[layer], all[i][layer]);
      metrics[i]["saturation"].push_back(saturation);
      metrics[i]["saturation_first"].push_back(saturation_first);
      if (i == 0) continue;
      const auto [kept, kept_first] = share(all[i][layer], all[i - 1][layer]);
      metrics[i]["churn"].push_back(1 - kept);
      metrics[i]["churn_first"].push_back(1 - kept_first);
    }
  return metrics;
}

TrainConfig config_of(const std::string& router) {
  TrainConfig config = test::tiny_config();
  config.moe.router.type = router;
  config.moe.balance.clear();
  config.train.micro_sequences = 6;  // uneven over four ranks
  config.train.sequences_per_step = 12;
  config.optim.lr = 0.02;
  return config;
}

}  // namespace

TEST_CASE("saturation and churn are those of a count over tokens, on any number of ranks") {
  test::Largest worst;
  for (const char* router : {"top_k", "relu", "expert_choice"}) {
    const TrainConfig config = config_of(router);
    const std::vector<Metrics> wanted = expected(config);
    for (const int ranks : {1, 2, 4}) {
      const std::vector<Metrics> found = history_of(config, ranks);
      for (int i = 0; i < kCheckpoints; ++i)
        for (const std::string& name : kNames)
          for (size_t layer = 0; layer < 2; ++layer) {
            INFO(router << ", " << ranks << " ranks, checkpoint " << i << ", " << name);
            const double value = found[i].at(name).at(layer);
            if (i == 0 && name.starts_with("churn")) {
              CHECK(std::isnan(value));
              continue;
            }
            CHECK(value == wanted[i].at(name).at(layer));
            worst.see(value - wanted[i].at(name).at(layer));
          }
    }
    INFO(router);
    CHECK(wanted[2].at("saturation")[1] == 1);
    CHECK(wanted[0].at("saturation")[1] < 1);  // it learns
    CHECK(wanted[1].at("churn")[1] > 0);
  }
  worst.print("saturation and churn");
}

TEST_CASE("docs/metrics.md explains each of them") {
  const std::string page = test::read_text(test::source_path() + "/docs/metrics.md");
  for (const std::string& name : kNames)
    CHECK(page.find("\n| `" + name + "` |") != std::string::npos);
}

TEST_CASE("a router that learns nothing is settled from the start") {
  TrainConfig config = config_of("hash");
  for (const Metrics& metrics : history_of(config, 2)) {
    CHECK(metrics.at("saturation") == std::vector<double>{1, 1});
    CHECK(metrics.at("saturation_first") == std::vector<double>{1, 1});
    for (const double churn : metrics.at("churn")) CHECK((std::isnan(churn) || churn == 0));
  }
}

TEST_CASE("a model without experts has no routing history") {
  TrainConfig config = config_of("top_k");
  config.moe.layers.kind = LayerPattern::Kind::kNone;
  for (const Metrics& metrics : history_of(config, 2)) CHECK(metrics.empty());
}
