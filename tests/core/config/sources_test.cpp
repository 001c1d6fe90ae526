#include "core/config/sources.h"

#include <catch2/catch.hpp>

#include "core/config/yaml.h"
#include "tests/core/config/config_test_support.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using config_test::error_of;
using test::TempFolder;

namespace {

/// The value of `key` in each layer, "-" where it has none.
std::string values(const std::vector<Value>& layers, const std::string& key) {
  std::string text;
  for (const Value& layer : layers) text += layer.find(key) ? layer.find(key)->scalar : "-";
  return text;
}

}  // namespace

TEST_CASE("the files that a config builds on come before it") {
  const TempFolder folder;
  folder.write("sub/one.yaml", "base: deep/zero.yaml\na: 1\n");
  folder.write("sub/deep/zero.yaml", "a: 0\n");
  folder.write("two.yaml", "a: 2\n");
  const std::string file = folder.write("main.yaml", "a: 3\nbase: [sub/one.yaml, two.yaml]\n");
  const auto layers = read_config_layers(file, "");
  CHECK(values(layers, "a") == "0123");
  CHECK(values(layers, "base") == "----");
  CHECK(layers[0].find("a")->mark.source == folder.path("sub/deep/zero.yaml"));
}

TEST_CASE("a file may be built on twice, but not on itself") {
  const TempFolder folder;
  folder.write("zero.yaml", "a: 0\n");
  folder.write("one.yaml", "base: zero.yaml\na: 1\n");
  CHECK(
      values(read_config_layers(folder.write("m.yaml", "base: [zero.yaml, one.yaml]\na: 2\n"), ""),
             "a") == "0012");
  SECTION("directly") {
    const std::string file = folder.write("self.yaml", "a: 1\nbase: self.yaml\n");
    CHECK_THAT(error_of([&] { read_config_layers(file, ""); }),
               Contains("self.yaml:2:7: base: ") && Contains("includes itself"));
  }
  SECTION("nor in a circle, by whatever spelling") {
    folder.write("b.yaml", "base: ./sub/../a.yaml\nx: 1\n");
    std::filesystem::create_directories(folder.path("sub"));
    const std::string file = folder.write("a.yaml", "base: b.yaml\nx: 1\n");
    CHECK_THAT(error_of([&] { read_config_layers(file, ""); }),
               Contains("b.yaml:1:7") && Contains("includes itself"));
  }
}

TEST_CASE("shipped blocks are found by name") {
  const TempFolder shipped, folder;
  shipped.write("moe/deepseek_v3.yaml", "a: 7\n");
  shipped.write("moe/switch.yaml", "a: 8\n");
  CHECK(
      values(read_config_layers(folder.write("m.yaml", "base: switchyard/moe/deepseek_v3\na: 1\n"),
                                shipped.path()),
             "a") == "71");
  SECTION("with the extension too") {
    CHECK(values(
              read_config_layers(folder.write("m.yaml", "base: switchyard/moe/switch.yaml\na: 1\n"),
                                 shipped.path()),
              "a") == "81");
  }
  SECTION("and a wrong name gets the nearest") {
    const std::string file = folder.write("m.yaml", "base: switchyard/moe/deepseekv3\n");
    CHECK_THAT(
        error_of([&] { read_config_layers(file, shipped.path()); }),
        Contains("m.yaml:1:7: base: ") && Contains("did you mean `switchyard/moe/deepseek_v3`?"));
  }
  SECTION("which names no file outside the folder's list") {
    const std::string file = folder.write("m.yaml", "base: switchyard/nothing\n");
    CHECK_THAT(error_of([&] { read_config_layers(file, shipped.path()); }),
               Contains("is not a shipped config"));
  }
}

TEST_CASE("a base that cannot be used is an error at its place") {
  const TempFolder folder;
  const auto problem = [&](const std::string& text) {
    const std::string file = folder.write("m.yaml", text);
    return error_of([&] { read_config_layers(file, ""); });
  };
  CHECK_THAT(problem("base: no.yaml\n"), Contains("m.yaml:1:7: base: no such file"));
  CHECK_THAT(problem("base:\n"), Contains("m.yaml:1:1: base: has no value"));
  CHECK_THAT(problem("base: {a: 1}\n"), Contains("a file or a list of files"));
  CHECK_THAT(problem("base: [x.yaml, [y]]\n"), Contains("m.yaml:1:8: base.0: no such file"));
  CHECK_THAT(problem("base: ''\n"), Contains("names no file"));
  CHECK_THAT(problem("- a\n"), Contains("is not a map"));
  CHECK_THAT(problem("just text\n"), Contains("is not a map"));
}

TEST_CASE("overrides become one tree") {
  const Value tree =
      parse_overrides({"moe.top_k=2", "moe.balance.0.coef=1e-2", "moe.router={type: switch}",
                       "moe.router.jitter=0.1", "optim.betas=[0.9, 0.95]"});
  CHECK(to_flow_yaml(tree) ==
        "{moe: {top_k: 2, balance: {\"0\": {coef: 1e-2}}, router: {type: switch, jitter: 0.1}}, "
        "optim: {betas: [0.9, 0.95]}}");
  CHECK(tree.find("moe")->find("router")->find("jitter")->mark.text() ==
        "command line: moe.router.jitter=0.1");
  CHECK(tree.find("moe")->find("balance")->find("0")->find("coef")->path == "moe.balance.0.coef");
  CHECK(parse_overrides({}).map.empty());
}

TEST_CASE("an override may reach into a list that another one gave") {
  const Value tree = parse_overrides({"moe.balance=[{type: z}]", "moe.balance.0.coef=0.5"});
  CHECK(to_flow_yaml(tree) == "{moe: {balance: [{type: z, coef: 0.5}]}}");
  CHECK_THAT(error_of([] {
               parse_overrides({"a=[1]", "a.1.x=2"});
             }),
             Contains("is not an element of the list"));
}

TEST_CASE("an equals sign in a value stays there") {
  CHECK(parse_overrides({"run.name=a=b"}).find("run")->find("name")->scalar == "a=b");
}

TEST_CASE("overrides that cannot be used are quoted") {
  CHECK_THAT(error_of([] { parse_overrides({"train.steps"}); }),
             Contains("command line: train.steps: is not a key.path=value"));
  CHECK_THAT(error_of([] { parse_overrides({"=3"}); }), Contains("is not a key.path=value"));
  CHECK_THAT(error_of([] { parse_overrides({"a..b=3"}); }), Contains("empty part"));
  CHECK_THAT(error_of([] { parse_overrides({"a.=3"}); }), Contains("empty part"));
  CHECK_THAT(error_of([] { parse_overrides({"a.b="}); }),
             Contains("command line: a.b=: a.b: has no value"));
  CHECK_THAT(error_of([] { parse_overrides({"a.b=~"}); }), Contains("has no value"));
  CHECK_THAT(error_of([] { parse_overrides({"a.b=[1"}); }), Contains("not valid YAML"));
  CHECK_THAT(error_of([] {
               parse_overrides({"a.b=1", "a.b=2"});
             }),
             Contains("a.b: is given twice"));
  CHECK_THAT(error_of([] { parse_overrides({"a=1", "a.b=2"}); }), Contains("is given twice"));
  CHECK_THAT(error_of([] { parse_overrides({"a.b=2", "a=1"}); }), Contains("is given twice"));
  CHECK_THAT(error_of([] { parse_overrides({"base=x.yaml"}); }),
             Contains("`base` belongs into a config file"));
  CHECK_THAT(error_of([] { parse_overrides({"a=\xFF"}); }), Contains("not valid UTF-8"));
}
