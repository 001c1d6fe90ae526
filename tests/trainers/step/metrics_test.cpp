#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <iostream>
#include <numeric>
#include <regex>
#include <set>

#include "core/base/local_communicator.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/largest.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_config.h"
#include "trainers/config/train_config.h"
#include "trainers/step/evaluator.h"
#include "trainers/step/train_step.h"

using namespace switchyard;

namespace {

// Drops, a bias, two micro-batches, more experts than ranks.
TrainConfig tiny_config() {
  TrainConfig config = test::tiny_config();
  config.moe.router.score = "sigmoid";
  config.moe.bias.type = "sign";
  config.moe.bias.rate = 0.05;
  config.moe.capacity.factor = 1.0;
  config.train.sequences_per_step = 12;
  config.train.micro_sequences = 6;  // uneven over four ranks
  return config;
}

struct Reports {
  StepReport step;  // of the fourth step
  EvalReport eval;
  int64_t scored = 0;  // targets of a step
};

Reports run(TrainConfig config, int ranks, int64_t expert_axis) {
  config.parallel.expert = expert_axis;
  Reports reports;
  run_ranks(ranks, [&](Communicator& world) {
    const auto training = build_training(config, world, torch::kCPU);
    Reports mine;
    for (int step = 0; step < 4; ++step) mine.step = train_step(*training);
    mine.eval = evaluate(*training, {.validation = 10});
    mine.scored = training->loader->scored_tokens_per_step();
    if (world.rank() == 0) reports = mine;
  });
  return reports;
}

double difference(const LayerMetrics& a, const LayerMetrics& b) {
  REQUIRE(a.size() == b.size());
  test::Largest worst;
  for (const auto& [name, values] : a) {
    INFO(name);
    REQUIRE(b.count(name) == 1);
    for (size_t layer = 0; layer < values.size(); ++layer) {
      const double x = values[layer], y = b.at(name)[layer];
      CHECK(std::isnan(x) == std::isnan(y));
      if (!std::isnan(x)) worst.see(x - y);
    }
  }
  return worst.value();
}

// Shares as whole numbers, so that those of an expert without tokens equal themselves.
std::vector<int64_t> rounded(const std::vector<std::vector<std::vector<double>>>& tables) {
  std::vector<int64_t> numbers;
  for (const auto& table : tables)
    for (const auto& row : table)
      for (const double share : row)
        numbers.push_back(std::isnan(share) ? -1 : std::llround(share * 1e15));
  return numbers;
}

int64_t sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

template <class Report>
void check_conservation(const Report& report, int64_t tokens) {
  for (size_t layer = 0; layer < 2; ++layer) {
    const auto value = [&](const char* name) { return report.moe.at(name)[layer]; };
    CHECK(value("selected") == static_cast<double>(sum(report.load[layer])));
    CHECK(value("selected") == static_cast<double>(2 * tokens));
    CHECK(value("computed") == value("kept"));
    CHECK(value("kept") == Approx(value("selected") * (1 - value("drop_rate"))));
    CHECK(static_cast<double>(sum(report.received[layer])) ==
          Approx(value("devices_per_token") * static_cast<double>(tokens)));
  }
}

// The metric names of docs/metrics.md: the first column in code marks, the last says where.
std::set<std::string> documented(const std::string& where) {
  std::ifstream file(test::source_path() + "/docs/metrics.md");
  REQUIRE(file);
  static const std::regex kRow(R"(\| `(\w+)` \|.*\| ([a-z, ]+) \|)");
  std::set<std::string> names;
  std::smatch match;
  for (std::string line; std::getline(file, line);)
    if (std::regex_match(line, match, kRow) && match[2].str().find(where) != std::string::npos)
      names.insert(match[1]);
  return names;
}

template <class Report>
std::set<std::string> written(const Report& report) {
  std::set<std::string> names = {"load", "received"};
  for (const auto& [name, values] : report.moe) {
    CHECK(values.size() == 2);
    names.insert(name);
  }
  return names;
}

}  // namespace

TEST_CASE("metrics are the same on 1, 2 and 4 ranks and conserve tokens") {
  const Reports one = run(tiny_config(), 1, 1);
  const int64_t step_tokens = 12 * 16, eval_tokens = 10 * 16;
  check_conservation(one.step, step_tokens);
  check_conservation(one.eval, eval_tokens);
  CHECK(one.step.moe.at("drop_rate")[0] > 0);
  CHECK(one.step.moe.at("intervention")[0] > 0);
  for (const auto& [ranks, axis] : {std::pair<int, int64_t>{2, 1}, {2, 2}, {4, 2}, {4, 4}}) {
    CAPTURE(ranks, axis);
    Reports many = run(tiny_config(), ranks, axis);
    check_conservation(many.step, step_tokens);
    check_conservation(many.eval, eval_tokens);
    CHECK(many.step.load == one.step.load);
    CHECK(many.eval.load == one.eval.load);
    CHECK(many.step.received[0].size() == static_cast<size_t>(ranks));
    CHECK(rounded(many.eval.co_activation) == rounded(one.eval.co_activation));
    for (LayerMetrics* moe : {&many.step.moe, &many.eval.moe})
      (*moe)["devices_per_token"] = moe == &many.step.moe ? one.step.moe.at("devices_per_token")
                                                          : one.eval.moe.at("devices_per_token");
    CHECK(difference(many.step.moe, one.step.moe) < 1e-10);
    CHECK(difference(many.eval.moe, one.eval.moe) < 1e-10);
  }
}

TEST_CASE("traps: recomputation double count, in the metrics") {
  TrainConfig config = tiny_config();
  const Reports kept = run(config, 2, 2);
  config.train.recompute = "full";
  const Reports again = run(config, 2, 2);
  CHECK(again.step.load == kept.step.load);
  CHECK(again.step.received == kept.step.received);
  test::Largest worst;
  worst.see(difference(again.step.moe, kept.step.moe));
  CHECK(worst.value() < 1e-12);
  CHECK(again.step.moe.at("selected")[0] == 2 * 12 * 16);
  worst.print("traps: metrics with and without recomputation");
}

TEST_CASE("traps: sequences of uneven length and padding") {
  // Nothing pads. What a sequence does not score is the first `order` targets, and six sequences
  // are two for some ranks and one for others.
  test::Largest nll;
  for (const int64_t order : {1, 2}) {
    TrainConfig config = tiny_config();
    config.data.order = order;
    const Reports one = run(config, 1, 1), four = run(config, 4, 4);
    for (const Reports* reports : {&one, &four}) {
      CHECK(reports->step.moe.at("selected")[0] == 2 * 12 * 16);
      CHECK(reports->scored == 12 * (16 - order));
      CHECK(reports->eval.moe.at("selected")[0] == 2 * 10 * 16);
      CHECK(reports->eval.tokens == 10 * (16 - order));
    }
    CHECK(four.step.load == one.step.load);
    CHECK(four.eval.load == one.eval.load);
    nll.see((four.step.nll - one.step.nll) / one.step.nll);
    nll.see((four.eval.nll - one.eval.nll) / one.eval.nll);
  }
  CHECK(nll.value() < 1e-12);
  nll.print("traps: nll of sequences that ranks share unevenly, relative");
}

TEST_CASE("docs/metrics.md names what a step and an evaluation write") {
  const auto local = make_local_communicator();
  const auto training = build_training(tiny_config(), *local, torch::kCPU);
  const StepReport step = train_step(*training);
  const EvalReport eval = evaluate(*training, {.validation = 8});
  CHECK(written(step) == documented("step"));
  CHECK(written(eval) == documented("eval"));
  REQUIRE(eval.co_activation.size() == 2);
  CHECK(eval.co_activation[0].size() == 8);
}

TEST_CASE("a run without a bias has no range and no intervention") {
  TrainConfig config = tiny_config();
  config.moe.bias.type = "none";
  const auto local = make_local_communicator();
  const auto training = build_training(config, *local, torch::kCPU);
  const StepReport step = train_step(*training);
  CHECK(std::isnan(step.moe.at("intervention")[0]));
  CHECK(std::isnan(step.moe.at("bias_range")[0]));
}

TEST_CASE("an evaluation whose capacity looks ahead also reports token choice") {
  TrainConfig config = tiny_config();
  config.moe.capacity.eval_factor = 0.5;
  const auto local = make_local_communicator();
  const auto eval_of = [&](const TrainConfig& c) {
    return evaluate(*build_training(c, *local, torch::kCPU), {.validation = 8});
  };
  SECTION("second choices stand behind all first ones") {
    const EvalReport eval = eval_of(config);
    CHECK(eval.moe.at("drop_rate")[0] > 0);
    REQUIRE(eval.nll_token_choice);
    CHECK(*eval.nll_token_choice != eval.nll);
    CHECK_FALSE(eval.nll_whole_batch);
    config.moe.capacity.eval_dropless = true;
    CHECK(*eval.nll_token_choice == Approx(eval_of(config).nll).epsilon(1e-12));
  }
  SECTION("by priority, where it binds") {
    config.moe.capacity.order = "batch_priority";
    CHECK(eval_of(config).nll_token_choice);
    config.moe.capacity.eval_factor = 8.0;
    CHECK_FALSE(eval_of(config).nll_token_choice);
  }
  SECTION("one choice by position never looks ahead") {
    config.moe.top_k = 1;
    const EvalReport eval = eval_of(config);
    CHECK(eval.moe.at("drop_rate")[0] > 0);
    CHECK_FALSE(eval.nll_token_choice);
  }
}

namespace {

LoadedConfig load_with_router(const std::string& router) {
  const test::TempFolder folder;
  const auto path = folder.write("small.yaml", R"(
model: {num_layers: 2, hidden_dim: 32, num_heads: 2, num_kv_heads: 1, head_dim: 16, max_seq_len: 16}
moe: {num_experts: 8, expert_dim: 24, balance: []}
data: {num_domains: 4, content_tokens: 16}
train: {steps: 4, sequences_per_step: 12, micro_sequences: 6, precision: fp64}
optim: {warmup_steps: 1}
)");
  return load_config(
      path, {"moe.router.type=" + router, router == "base" ? "moe.top_k=1" : "moe.top_k=2"},
      test::source_path("/configs"));
}

}  // namespace

TEST_CASE("causality: routers that look ahead are noted once and evaluated both ways") {
  const auto local = make_local_communicator();
  for (const std::string router : {"expert_choice", "base", "sinkhorn", "top_k"}) {
    CAPTURE(router);
    const LoadedConfig loaded = load_with_router(router);
    const auto training = build_training(loaded.config, *local, torch::kCPU);
    const EvalReport eval = evaluate(*training, {.validation = 8});
    if (router == "top_k") {
      CHECK(loaded.notes.empty());
      CHECK_FALSE(eval.nll_token_choice);
      CHECK_FALSE(eval.nll_whole_batch);
      continue;
    }
    REQUIRE(loaded.notes.size() == 1);
    CHECK_THAT(loaded.notes[0], Catch::StartsWith("moe.router.type: " + router));
    const bool by_tokens = router == "expert_choice";
    const auto& other = by_tokens ? eval.nll_token_choice : eval.nll_whole_batch;
    REQUIRE(other);
    CHECK_FALSE((by_tokens ? eval.nll_whole_batch : eval.nll_token_choice));
    CHECK(std::abs(*other - eval.nll) > 1e-9);
    std::cout << "causality: " << router << " evaluated the other way moves nll by "
              << std::abs(*other - eval.nll) << "\n";
  }
}
