#include <fmt/format.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <limits>

#include "core/base/error.h"
#include "tests/trainers/route/routed.h"

namespace switchyard::test {
namespace {

using Catch::Matchers::Contains;

const char* const kTopTwo = "{num_experts: 4, top_k: 2, balance: []}";

std::string problem(RouteFolder& folder) {
  try {
    run_route(folder.job);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("numbers must be finite in the type of the logits") {
  RouteFolder folder;
  folder.write_moe(kTopTwo);
  const auto logits = torch::zeros({3, 4});

  SECTION("a bias that fp32 cannot hold is refused") {
    folder.write_scores(
        {{"logits", logits}, {"bias", torch::tensor({0.0, -1e300, 0.0, 0.0}, torch::kDouble)}});
    CHECK_THAT(
        problem(folder),
        Contains("tensor `bias` holds -1e+300 at [1]; allowed: finite numbers in the range of "
                 "F32, the type of `logits`"));
  }
  SECTION("so is noise") {
    auto noise = torch::zeros({3, 4}, torch::kDouble);
    noise[2][3] = 1e39;
    folder.write_moe("{num_experts: 4, router: {type: noisy_top_k}, balance: []}");
    folder.write_scores({{"logits", logits}, {"noise", noise}});
    folder.job.training = true;
    CHECK_THAT(problem(folder), Contains("tensor `noise` holds 1e+39 at [2, 3]; allowed: finite"));
  }
  SECTION("with fp64 logits the same bias is taken") {
    folder.write_scores({{"logits", logits.to(torch::kDouble)},
                         {"bias", torch::tensor({0.0, -1e300, 0.0, 0.0}, torch::kDouble)}});
    CHECK(folder.route().tensors.at("expert_ids").eq(1).sum().item<int64_t>() == 0);
  }
}

TEST_CASE("a hash router's logits have a column for each expert, though it reads none") {
  RouteFolder folder;
  folder.write_moe("{num_experts: 4, router: {type: hash}, balance: []}");
  const auto tokens = torch::arange(8);
  for (const int64_t columns : {0, 3, 5}) {
    folder.write_scores({{"logits", torch::zeros({8, columns})}, {"tokens", tokens}});
    CHECK_THAT(problem(folder), Contains("tensor `logits` has " + std::to_string(columns) +
                                         " columns, the config needs 4 (moe.num_experts)"));
  }
  folder.write_scores({{"logits", torch::zeros({8, 4})}, {"tokens", tokens}});
  CHECK(problem(folder).empty());
}

TEST_CASE("no token takes memory for the tokens below it") {
  RouteFolder folder;
  const int64_t far = int64_t{1} << 30;
  folder.write_scores(
      {{"logits", torch::zeros({4, 4})}, {"tokens", torch::tensor({7L, far, 7L, 0L})}});
  for (const char* table : {"random", "bigram", "balanced"}) {
    folder.write_moe(fmt::format(
        "{{num_experts: 4, top_k: 1, router: {{type: hash, table: {}}}, balance: []}}", table));
    folder.job.overrides.clear();
    CHECK_THAT(problem(folder), Contains("holds token 1073741824; the vocabulary has 200"));
    folder.job.overrides = {"model.vocab_size=2_000_000_000"};
    const at::Tensor experts_TK = folder.route().tensors.at("expert_ids");
    // By falling frequency, then by id: 7, 0 and the far one.
    if (table == std::string("balanced"))
      CHECK(at::equal(experts_TK.flatten(), torch::tensor({0L, 2L, 0L, 1L})));
  }
}

TEST_CASE("the output replaces neither the scores nor a file of the config, under any name") {
  RouteFolder folder;
  folder.write_moe(kTopTwo);
  folder.write_scores({{"logits", torch::zeros({3, 4})}});
  const std::string config = folder.temp.read("config.yaml");

  folder.job.out = folder.temp.path(
      "../" + std::filesystem::path(folder.temp.path()).parent_path().filename().string() +
      "/config.yaml");
  CHECK_THAT(problem(folder), Contains("config.yaml is a config file; allowed: another file"));
  CHECK(folder.temp.read("config.yaml") == config);

  folder.temp.write("config.yaml", "base: base.yaml\n");
  folder.job.out = folder.temp.write("base.yaml", config);
  CHECK_THAT(problem(folder), Contains("base.yaml is a config file; allowed: another file"));
  CHECK(folder.temp.read("base.yaml") == config);

  folder.job.out = folder.temp.path("link");
  std::filesystem::create_hard_link(folder.job.scores, folder.job.out);
  CHECK_THAT(problem(folder), Contains("link is the scores file; allowed: another file"));
}

TEST_CASE("the output replaces files alone, and those behind links in their own place") {
  RouteFolder folder;
  folder.write_moe(kTopTwo);
  folder.write_scores({{"logits", torch::zeros({3, 4})}});
  const auto out = [&](const std::string& name) { return folder.job.out = folder.temp.path(name); };
  namespace fs = std::filesystem;

  SECTION("a pipe stays, also behind a link") {
    REQUIRE(mkfifo(out("pipe").c_str(), 0600) == 0);
    CHECK_THAT(problem(folder), Contains("pipe is a device, pipe or socket; allowed: a file"));
    fs::create_symlink("pipe", out("link"));
    CHECK_THAT(problem(folder), Contains("link is a device, pipe or socket; allowed: a file"));
    CHECK(fs::is_fifo(folder.temp.path("pipe")));
    CHECK(fs::is_symlink(folder.temp.path("link")));
  }
  SECTION("a link to nothing, or to itself, is none") {
    fs::create_symlink("none", out("link"));
    CHECK_THAT(problem(folder), Contains("link is a link to nothing; allowed: a file"));
    CHECK_FALSE(fs::exists(folder.temp.path("none")));
    fs::create_symlink("loop", out("loop"));
    CHECK_THAT(problem(folder), Contains("loop is a link to nothing; allowed: a file"));
  }
  SECTION("a link stays one") {
    const std::string target = folder.temp.write("there/routed", "old");
    fs::create_symlink("there/routed", out("link"));
    CHECK(folder.route().tensors.count("expert_ids") == 1);
    CHECK(fs::is_symlink(folder.temp.path("link")));
    CHECK_FALSE(fs::is_symlink(target));
    CHECK(folder.temp.read("there/routed") != "old");
    CHECK(std::distance(fs::directory_iterator(folder.temp.path("there")), {}) == 1);
  }
}

TEST_CASE("soft reads no top_k, and relu's is a mean") {
  RouteFolder folder;
  folder.write_scores({{"logits", torch::tensor({{1.0, 3.0, -1.0, -2.0}})}});
  folder.write_moe(
      "{num_experts: 4, top_k: 9, router: {type: soft}, "
      "balance: [{type: load_balance, count: unbiased}]}");
  CHECK(folder.route().tensors.at("expert_ids").size(1) == 4);

  folder.job.training = true;
  folder.write_moe(
      "{num_experts: 4, top_k: 1, router: {type: relu}, balance: [], "
      "capacity: {factor: 2, renormalize: true}}");
  const auto weights = folder.route().tensors.at("weights").to(torch::kDouble);
  CHECK(weights.max().item<double>() == Approx(0.75));
  CHECK(weights.sum().item<double>() == Approx(1.0));
}

TEST_CASE("there are as many columns as any token has experts") {
  RouteFolder folder;
  folder.write_moe("{num_experts: 4, top_k: 2, router: {type: gshard}, balance: []}");
  folder.job.training = true;
  const auto columns = [&](const torch::Tensor& logits_TE) {
    folder.write_scores({{"logits", logits_TE}});
    const Routed routed = folder.route();
    for (const char* name : {"weights", "kept", "slot"})
      CHECK(routed.tensors.at(name).sizes() == routed.tensors.at("expert_ids").sizes());
    return routed.tensors.at("expert_ids").size(1);
  };
  // The second expert is taken with twice its share of the weight: 2e-13, or 1.
  const auto sure = torch::tensor({30.0, 0.0, -1.0, -2.0}).expand({6, 4}).contiguous();
  CHECK(columns(sure) == 1);
  auto one_torn = sure.clone();
  one_torn[4][1] = 30.0;
  CHECK(columns(one_torn) == 2);

  SECTION("and one where no token has any") {
    folder.write_moe("{num_experts: 4, top_k: 2, router: {type: relu}, balance: []}");
    CHECK(columns(torch::full({6, 4}, -1.0)) == 1);
  }
}

// Choices {0, 1}, {0, 1}, {0, 2}, {1, 3} of tokens 5, 5, 10^15, 7.
const torch::Tensor kLogits = torch::tensor({{0.5, 0.3, 0.15, 0.05},
                                             {0.5, 0.3, 0.15, 0.05},
                                             {0.5, 0.15, 0.3, 0.05},
                                             {0.15, 0.5, 0.05, 0.3}},
                                            torch::kDouble)
                                  .log();

TEST_CASE("the metrics are those of a step and those of an evaluation that need no model") {
  RouteFolder folder;
  folder.write_moe(kTopTwo);
  folder.write_scores(
      {{"logits", kLogits}, {"tokens", torch::tensor({5L, 5L, 1'000'000'000'000'000L, 7L})}});
  const Routed routed = folder.route();
  CHECK(routed.metric("co_activation").get<double>() == Approx(1.0 / 3));
  CHECK(routed.metric("co_activation_max").get<double>() ==
        Approx((2.0 / 3 + 2.0 / 3 + 1 + 1) / 4));
  CHECK(routed.metric("top_k_gap").get<double>() == Approx(0.15));
  CHECK(routed.metric("dead_experts") == 0);
  // Of 8 assignments 2, 2, 1, 1, 1, 1 fall into cells where chance gives 1.5, 1.5, 0.75, 0.25,
  // 0.75, 0.25; the bias is (3 − 1)(4 − 1)/(2 · 8).
  const double information = 0.75 * std::log(4.0 / 3) + 0.25 * std::log(4.0) - 0.375;
  CHECK(routed.metric("token_mi").get<double>() == Approx(information));

  SECTION("but not those of experts, of which there are none") {
    const auto all = nlohmann::json::parse(routed.report.metrics);
    CHECK_FALSE(all.contains("computed"));
    CHECK_FALSE(all.contains("received"));
  }
  SECTION("without tokens there is no information on them") {
    folder.write_scores({{"logits", kLogits}});
    CHECK(folder.route().metric("token_mi").is_null());
  }
}

TEST_CASE("settings without effect are reported") {
  RouteFolder folder;
  folder.write_scores({{"logits", torch::zeros({3, 4})}});
  folder.write_moe(kTopTwo);
  CHECK(folder.route().report.notes.empty());
  folder.write_moe("{num_experts: 4, balance: [], capacity: {order: probability}}");
  const auto notes = folder.route().report.notes;
  REQUIRE(notes.size() == 1);
  CHECK_THAT(notes[0], Contains("moe.capacity.order has no effect: no capacity is set"));
}

}  // namespace
}  // namespace switchyard::test
