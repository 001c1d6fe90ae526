#include "core/data/options.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "core/config/fields.h"
#include "core/config/layers.h"
#include "core/config/yaml.h"
#include "tests/support/temp_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

/// The options after layers of (source name, YAML).
DataOptions read(const std::vector<std::pair<std::string, std::string>>& layers) {
  DataOptions options;
  const auto fields = Fields::bind(options);
  Origins origins;
  for (const auto& [source, text] : layers) apply_layer(*fields, parse_yaml(text, source), origins);
  validate(options);
  return options;
}

DataOptions read(const std::string& text) {
  return read({{"/configs/run.yaml", text}});
}

}  // namespace

TEST_CASE("the data block reads every type", "[data_options]") {
  SECTION("synthetic is the default") {
    const auto options = read("{num_domains: 8, order: 2, sigma: 0.25, zipf: 1}");
    CHECK(options.type == "synthetic");
    CHECK(options.num_domains == 8);
    CHECK(options.order == 2);
    CHECK(options.zipf == 1);
  }
  SECTION("text, domains in the order written") {
    const auto options = read(
        "{type: text, validation: 0.1, domains: {z: {paths: [b.txt, a.txt], weight: 2}, "
        "a: {paths: ['*.md']}}}");
    REQUIRE(options.domains.size() == 2);
    CHECK(options.domains[0].first == "z");
    CHECK(options.domains[0].second.weight == 2);
    CHECK(options.domains[0].second.files.paths == std::vector<std::string>{"b.txt", "a.txt"});
    CHECK(options.domains[1].second.weight == 1);
  }
  SECTION("tokens") {
    const auto options = read(
        "{type: tokens, paths: [t.bin], validation_paths: [v.bin], dtype: u32, format: raw, "
        "documents: {separator: 50256}}");
    CHECK(options.documents.kind == DocumentOptions::Kind::kSeparator);
    CHECK(options.documents.separator == 50256);
    CHECK(options.dtype == "u32");
    CHECK(read("{type: tokens, paths: [t], documents: {length: 129}}").documents.length == 129);
  }
}

TEST_CASE("relative paths start at the file that names them", "[data_options]") {
  const std::string text = "{type: text, paths: [a.txt, /abs/b.txt]}";
  const std::string here = fs::current_path().string();

  SECTION("a config file") {
    CHECK(read({{"/configs/run.yaml", text}}).root == "/configs");
  }
  SECTION("a config file named relative to the current folder") {
    CHECK(read({{"x/run.yaml", text}}).root == here + "/x");
  }
  SECTION("the command line") {
    CHECK(read({{"command line: data.paths=[a.txt]", text}}).root == here);
  }
  SECTION("a root written in a file is relative to that file") {
    CHECK(read("{type: text, root: ../data, paths: [a.txt]}").root == "/data");
  }
  SECTION("a later root moves the paths of an earlier file") {
    const auto options =
        read({{"/configs/run.yaml", text}, {"command line: data.root=sub", "root: sub"}});
    CHECK(options.root == here + "/sub");
    CHECK(options.files.paths[0] == "a.txt");
  }
  SECTION("paths from several places become absolute where needed") {
    const auto options = read({{"/one/run.yaml", "{type: text, domains: {a: {paths: [a.txt]}}}"},
                               {"/two/run.yaml", "{domains: {b: {paths: [b.txt, /abs/c.txt]}}}"}});
    CHECK(options.root == "/one");
    CHECK(options.domains[0].second.files.paths == std::vector<std::string>{"a.txt"});
    CHECK(options.domains[1].second.files.paths ==
          std::vector<std::string>{"/two/b.txt", "/abs/c.txt"});
  }
}

TEST_CASE("the resolved block reads back to the same block elsewhere", "[data_options]") {
  const auto text =
      GENERATE(as<std::string>{}, "{type: text, paths: [a.txt]}", "{variant: latent, rho: 0.1}",
               "{type: tokens, root: ../d, domains: {x: {paths: [q.bin], weight: 2}}, documents: "
               "{length: 9}}");
  DataOptions options = read(text);
  const auto shown = [](DataOptions& o) { return to_yaml(Fields::bind(o)->present()); };
  const std::string first = shown(options);
  DataOptions again = read({{"/elsewhere/config.yaml", first}});
  CHECK(shown(again) == first);
  CHECK(again.root == options.root);
}

TEST_CASE("data blocks that contradict themselves are refused", "[data_options]") {
  const auto [text, why] = GENERATE(table<std::string, std::string>({
      {"{type: text}", "needs either data.domains or data.paths, not none"},
      {"{type: text, paths: [a], domains: {b: {paths: [c]}}}", "not both"},
      {"{type: text, domains: {b: {weight: 2}}}", "data.domains.b.paths names no file"},
      {"{type: text, domains: {b: {paths: [c], weight: 0}}}", "data.domains.b.weight"},
      {"{type: text, paths: a.txt}", "expected a list of paths"},
      {"{type: text, num_domains: 4, paths: [a]}", "num_domains"},
      {"{type: text, paths: [a], dtype: u32}", "dtype"},
      {"{type: tokens, domains: {a: {paths: [b]}}, validation_paths: [v]}",
       "data.validation_paths goes with data.paths"},
      {"{type: tokens, paths: [a], validation: 0.1, validation_paths: [v]}", "exclude each other"},
      {"{type: tokens, paths: [a], documents: {size: 4}}", "unknown key `size`"},
      {"{type: tokens, paths: [a], documents: 4}", "expected none, {separator: TOKEN}"},
      {"{rho: 0.1}", "rho"},
      {"{variant: latent, num_domains: 1}", "data.num_domains must be at least 2"},
      {"{variant: latent, zipf: 1}", "zipf"},
      {"{zipf: 1, sampler: single_domain}", "data.sampler: single_domain needs"},
      {"{order: 3}", "order"},
      {"{content_tokens: 3}", "content_tokens"},
      {"{type: txt}", "text"},
  }));
  INFO(text);
  // At the block's own place in a config, so that messages carry the whole key path.
  DataOptions options;
  Fields root;
  root.block("data", options, "");
  Origins origins;
  CHECK_THROWS_WITH(
      [&] {
        apply_layer(root, parse_yaml("data: " + text, "c.yaml"), origins);
        validate(options);
      }(),
      Catch::StartsWith("[config] ") && Catch::Contains(why));
}

}  // namespace switchyard
