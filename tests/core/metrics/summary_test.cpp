#include "core/metrics/summary.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"

namespace switchyard {
namespace {

Summary finished() {
  Summary summary;
  summary.steps = 300, summary.tokens = 1228800;
  summary.train_nll = 1.3;
  summary.drop_rate = 0.125;
  summary.params_total = 1000, summary.params_active = 400;
  summary.flops_per_token = 2400;
  summary.tokens_per_s = 50000, summary.peak_rss_mb = 512, summary.ranks = 2;
  summary.state_hash = "abc";
  return summary;
}

}  // namespace

TEST_CASE("the summary holds its keys in order, per-layer metrics as means", "[summary]") {
  Summary summary = finished();
  EvalReport eval;
  eval.nll = 1.25;
  eval.excess_loss = 0.0625;
  eval.moe = {{"max_vio_global", {0.5, 0.25}}, {"domain_mi", {1, 2}}};
  summary.eval = eval;
  CHECK(summary_json(summary) ==
        R"({"steps":300,"tokens":1228800,"train_nll":1.3,"val_nll":1.25,"excess_loss":0.0625,)"
        R"("max_vio_global":0.375,"domain_mi":1.5,"drop_rate":0.125,"params_total":1000,)"
        R"("params_active":400,"flops_per_token":2400,"tokens_per_s":50000,"peak_rss_mb":512,)"
        R"("ranks":2,"state_hash":"abc"})"
        "\n");
}

TEST_CASE("what a run does not have is null", "[summary]") {
  CHECK_THAT(summary_json(finished()),
             Catch::Contains(R"("val_nll":null,"excess_loss":null,"max_vio_global":null)"));
}

TEST_CASE("a second way to evaluate follows the fixed keys", "[summary]") {
  Summary summary = finished();
  summary.eval.emplace();
  summary.eval->nll_token_choice = 1.5;
  CHECK_THAT(summary_json(summary),
             Catch::Contains(R"("state_hash":"abc","val_nll_token_choice":1.5})"));
  summary.eval->nll_token_choice.reset();
  summary.eval->nll_whole_batch = 1.25;
  CHECK_THAT(summary_json(summary),
             Catch::Contains(R"("state_hash":"abc","val_nll_whole_batch":1.25})"));
}

TEST_CASE("the summary replaces the old one in one step", "[summary]") {
  const test::TempFolder folder;
  folder.write("summary.json", "old");
  write_summary(folder.path("summary.json"), finished());
  CHECK(folder.read("summary.json") == summary_json(finished()));
  CHECK_FALSE(std::filesystem::exists(folder.path("summary.json.tmp")));
  CHECK_THROWS_AS(write_summary("/nowhere/summary.json", finished()), IoError);
}

TEST_CASE("the mean over layers needs the metric", "[summary]") {
  CHECK(layer_mean({{"a", {1, 2, 6}}}, "a") == 3.0);
  CHECK_FALSE(layer_mean({{"a", {}}}, "a"));
  CHECK_FALSE(layer_mean({}, "a"));
}

}  // namespace switchyard
