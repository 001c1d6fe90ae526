#include "trainers/config/config_commands.h"

#include <catch2/catch.hpp>

#include "core/config/fields.h"
#include "tests/trainers/config/config_file.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("explain, schema and tables know every key") {
  TrainConfig defaults;
  const Value all = Fields::bind(defaults)->present();
  const std::string tables = config_tables_text(), schema = config_schema_text(),
                    explained = config_explain_text("");
  for (const auto& [block, keys] : all.map)
    for (const auto& entry : keys.map) {
      CAPTURE(block, entry.first);
      CHECK_THAT(tables, Contains("| `" + entry.first + "` |"));
      CHECK_THAT(schema, Contains("\"" + entry.first + "\": {"));
      CHECK_THAT(explained, Contains("\n" + block + "." + entry.first + ": "));
    }
  CHECK_THAT(config_explain_text("moe.router.groups"),
             Contains("only with type: top_k, deepseek_v2, deepseek_v3") && Contains("n_group"));
  CHECK_THROWS_AS(config_explain_text("moe.router.group"), ConfigError);
}

TEST_CASE("settings without effect are noted") {
  const auto notes = [](const std::string& text) { return ConfigFile(text).load().notes; };
  CHECK(notes("{}").empty());
  REQUIRE(notes("model: {ffn_dim: 64}\n").size() == 1);
  CHECK_THAT(notes("model: {ffn_dim: 64}\n")[0], Contains(":1:18: model.ffn_dim has no effect"));
  CHECK(notes("model: {ffn_dim: 64}\nmoe: {layers: {first_dense: 1}}\n").empty());
  CHECK(notes("moe: {layers: none, num_experts: 4}\n").size() == 1);
  CHECK(notes("moe: {capacity: {order: probability}}\n").size() == 1);
  CHECK_THAT(notes("moe: {layers: [1], router: {gating_residual: true}}\n")[0],
             Contains("moe.router.gating_residual has no effect: the one MoE layer"));
  CHECK_THAT(notes("moe: {force: one}\ntrain: {replay_routing: trace}\n")[0],
             Contains(":1:14: moe.force acts in evaluation alone: training follows "
                      "train.replay_routing"));
  CHECK(notes("moe: {force: none}\ntrain: {replay_routing: trace}\n").empty());
  CHECK(notes("moe: {force: one}\n").empty());
  CHECK_THAT(config_check_text(ConfigFile("model: {ffn_dim: 64}\n").load(), "x.yaml"),
             StartsWith("x.yaml: ok\nnote: "));
}

TEST_CASE("a shown config reads back to the same config") {
  for (const char* text : {"{}",
                           "moe: {layers: {every: 2, offset: 1}, balance: [{type: switch, coef: "
                           "1e-5}, {scope: {sequences: 4}}, {type: z}]}\n",
                           "base: switchyard/moe/deepseek_v3\nmodel: {num_layers: 3}\n",
                           "base: switchyard/moe/switch\n",
                           "moe: {layers: [1], balance: [], capacity: {factor: 1.1, eval_factor: "
                           "none}, bias: {type: sign}}\nrun: {threads: 2, name: '7'}\n",
                           "optim: {schedule: wsd, decay_steps: 9, lr: 1e-5}\ntrain: {precision: "
                           "bf16}\nlog: {tensorboard: false}\n"}) {
    CAPTURE(text);
    const ConfigFile file(text);
    const LoadedConfig first = file.load();
    const ConfigFile again(config_show_text(first), "other.yaml");
    const LoadedConfig second = again.load();
    CHECK(config_diff_text(first, second) == "no differences\n");
    // Nothing is left to defaults, so the text without its comments is the same too.
    CHECK(resume_differences(first.config, second.config).empty());
  }
}

TEST_CASE("a shown config names the origin of each value") {
  const ConfigFile file("base: switchyard/moe/switch\ntrain: {steps: 5}\n");
  const std::string text = config_show_text(file.load({"optim.lr=1e-3"}));
  CHECK_THAT(text, Contains("# " + file.path() + ":2:16\n"));
  CHECK_THAT(text, Contains("# command line: optim.lr=1e-3\n"));
  CHECK_THAT(text, Contains("# " + shipped_configs() + "/moe/switch.yaml:"));
  CHECK_THAT(text, Contains("# default\n"));
}

TEST_CASE("a shown config of text data reads back from another folder") {
  const ConfigFile file(
      "data: {type: text, domains: {prose: {paths: [a.txt, '*.md'], weight: 2}, code: {paths: "
      "[/x/b.txt]}}}\n");
  const LoadedConfig first = file.load();
  const ConfigFile again(config_show_text(first), "other.yaml");
  CHECK(config_diff_text(first, again.load()) == "no differences\n");
  CHECK_THAT(config_show_text(first), Contains("root: " + file.folder()));
}

TEST_CASE("a difference between configs names the key and both values") {
  const ConfigFile a("{}"), b("train: {steps: 7}\n", "small.yaml");
  CHECK(config_diff_text(a.load(), b.load()) == "train.steps: 300 → 7\n");
}
