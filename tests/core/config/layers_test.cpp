#include "core/config/layers.h"

#include <catch2/catch.hpp>

#include "core/config/sources.h"
#include "core/config/yaml.h"
#include "tests/core/config/config_test_support.h"
#include "tests/core/config/toy_options.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;

namespace {

struct Toy {
  ToyConfig options;
  std::shared_ptr<Fields> fields = Fields::bind(options);
  Origins origins;

  void file(const std::string& text, const std::string& name = "a.yaml") {
    apply_layer(*fields, parse_yaml(text, name), origins);
  }
  void command(const std::vector<std::string>& overrides) {
    apply_layer(*fields, parse_overrides(overrides), origins);
  }
};

std::string problem(const std::string& text) {
  Toy toy;
  return error_of([&] { toy.file(text); });
}

std::string command_problem(const std::vector<std::string>& overrides) {
  Toy toy;
  return error_of([&] { toy.command(overrides); });
}

}  // namespace

TEST_CASE("later layers win, key by key") {
  Toy toy;
  toy.file("count: 5\nrate: 0.1\nname: base\n", "base.yaml");
  toy.file("rate: 0.2\nname: file\n", "file.yaml");
  toy.command({"name=line"});
  CHECK(toy.options.count == 5);
  CHECK(toy.options.rate == 0.2);
  CHECK(toy.options.name == "line");
  SECTION("and each value knows its origin") {
    CHECK(toy.origins.text("count") == "base.yaml:1:8");
    CHECK(toy.origins.text("rate") == "file.yaml:1:7");
    CHECK(toy.origins.text("name") == "command line: name=line");
    CHECK(toy.origins.text("word") == "default");
  }
}

TEST_CASE("an unknown key gets the nearest valid one") {
  CHECK_THAT(problem("a_count: 5\n"), Contains("a_count: unknown key; did you mean `count`?"));
  CHECK_THAT(problem("count: 5\ncuont: 6\n"),
             Equals("[config] a.yaml:2:1: cuont: unknown key; did you mean `count`?"));
  CHECK_THAT(problem("router:\n  scal: 2\n"),
             Equals("[config] a.yaml:2:3: router.scal: unknown key; did you mean `router.scale`?"));
  CHECK_THAT(problem("terms: [{koef: 1}]\n"),
             Contains("a.yaml:1:10: terms.0.koef: unknown key; did you mean `terms.0.coef`?"));
  CHECK_THAT(problem("domains: {x: {wieght: 1}}\n"), Contains("did you mean `domains.x.weight`?"));
  CHECK_THAT(problem("banana: 1\n"), Contains("banana: unknown key; keys at the top: flag, count"));
  CHECK_THAT(problem("router: {banana: 1}\n"),
             Contains("unknown key; keys of router: type, groups"));
  CHECK_THAT(
      command_problem({"router.scal=2"}),
      Contains(
          "command line: router.scal=2: router.scal: unknown key; did you mean `router.scale`?"));
}

TEST_CASE("a misplaced key is sent where it belongs") {
  CHECK_THAT(problem("groups: 2\n"),
             Contains("groups: unknown key; it belongs elsewhere: `router.groups`"));
  CHECK_THAT(problem("router: {count: 2}\n"), Contains("it belongs elsewhere: `count`"));
  CHECK_THAT(problem("coef: 1\n"), Contains("it belongs elsewhere: `terms[].coef`"));
  CHECK_THAT(problem("weight: 1\n"), Contains("it belongs elsewhere: `domains.NAME.weight`"));
  CHECK_THAT(problem("type: a\n"), Contains("`router.type` or `terms[].type`"));
  CHECK_THAT(problem("router.scale: 2\n"), Contains("write it nested"));
}

TEST_CASE("another program's name is translated") {
  CHECK_THAT(problem("router: {n_group: 2}\n"),
             Contains("unknown key; did you mean `router.groups`?"));
  CHECK_THAT(problem("n_group: 2\n"), Contains("did you mean `router.groups`?"));
  CHECK_THAT(problem("NCount: 2\n"), Contains("did you mean `count`?"));
}

TEST_CASE("the first problem in file order is reported, once") {
  CHECK_THAT(problem("rate: 7\ncuont: 1\nflag: maybe\n"), Contains("a.yaml:1:7: rate"));
  CHECK_THAT(problem("count: 1\ncuont: 1\nrate: 7\n"), Contains("a.yaml:2:1: cuont"));
  SECTION("also where a type further down is wrong") {
    CHECK_THAT(problem("router:\n  scale: 0\n  type: x\n"), Contains("a.yaml:2:10: router.scale"));
  }
  SECTION("and it is one line") {
    CHECK(problem("rate: 7\ncuont: 1\n").find('\n') == std::string::npos);
  }
}

TEST_CASE("an empty value is refused with what may stand there") {
  CHECK_THAT(problem("count:\n"),
             Equals("[config] a.yaml:1:1: count: has no value; allowed: integer ≥ 1 and ≤ 100"));
  CHECK_THAT(problem("router:\n"),
             Contains("router: has no value; write its keys below it, {} for none"));
  CHECK_THAT(problem("router: {type: }\n"),
             Contains("router.type: has no value; allowed: a | b | c"));
  CHECK_THAT(problem("terms:\n"), Contains("terms: has no value"));
  CHECK(problem("router: {}\n").empty());
}

TEST_CASE("a block is a map") {
  CHECK_THAT(problem("router: a\n"),
             Contains("router: `a` is not a block of keys; write {type: ...}"));
  CHECK_THAT(problem("router: [a]\n"), Contains("`[a]` is not a block of keys"));
  CHECK_THAT(problem("terms: {type: z}\n"), Contains("is not a list of blocks; allowed: []"));
  CHECK_THAT(problem("terms: [z]\n"), Contains("terms.0: `z` is not a block of keys"));
  CHECK_THAT(problem("domains: [x]\n"), Contains("is not a map from names to blocks"));
}

TEST_CASE("a key of an unselected type is refused in the layer of that type") {
  CHECK_THAT(
      problem("router: {type: c, groups: 4}\n"),
      Equals(
          "[config] a.yaml:1:19: router.groups: belongs to type b; here type is c (a.yaml:1:16)"));
  SECTION("in whatever order they are written") {
    CHECK_THAT(problem("router: {groups: 4, type: c}\n"),
               Contains("a.yaml:1:10: router.groups: belongs to type b"));
    CHECK(problem("router: {groups: 4, type: b}\n").empty());
  }
  SECTION("also where the type is the default") {
    CHECK_THAT(problem("router: {groups: 4}\n"), Contains("here type is a (default)"));
  }
  SECTION("on the command line as well") {
    CHECK_THAT(command_problem({"router.groups=4", "router.type=c"}),
               Contains("router.groups: belongs to type b"));
    CHECK(command_problem({"router.groups=4", "router.type=b"}).empty());
  }
  SECTION("and not reported where the type itself is wrong") {
    CHECK_THAT(problem("router: {groups: 4, type: x}\n"),
               Contains("router.type: `x` is not one of the choices"));
  }
  SECTION("with the type's own word for another program's") {
    CHECK_THAT(problem("router: {type: bee}\n"), Contains("`bee` is called `b` here"));
  }
}

TEST_CASE("a later layer that sets the type resets the block") {
  Toy toy;
  toy.file("router: {type: b, groups: 4, scale: 3}\ncount: 9\n");
  toy.command({"router.type=c"});
  CHECK(toy.options.router.type == "c");
  CHECK(toy.options.router.groups == 1);
  CHECK(toy.options.router.scale == 1.0);
  CHECK(toy.options.count == 9);
  CHECK(toy.origins.text("router.scale") == "default");
  CHECK(toy.origins.text("router.type") == "command line: router.type=c");
  SECTION("and then takes the other keys of that layer") {
    toy.command({"router.scale=5", "router.type=b", "router.groups=2"});
    CHECK(toy.options.router.scale == 5.0);
    CHECK(toy.options.router.groups == 2);
  }
  SECTION("while a layer without type changes single keys") {
    toy.command({"router.scale=5"});
    CHECK(toy.options.router.type == "c");
    CHECK(toy.options.router.scale == 5.0);
  }
}

TEST_CASE("a key may belong to another choice than the type") {
  CHECK(problem("router: {schedule: deep, depth: 5}\n").empty());
  CHECK_THAT(problem("router: {depth: 5}\n"),
             Contains("router.depth: belongs to schedule deep; here schedule is flat (default)"));
  SECTION("which a later layer may change without resetting the block") {
    Toy toy;
    toy.file("router: {schedule: deep, depth: 5, scale: 2}\n");
    toy.command({"router.schedule=flat"});
    CHECK(toy.options.router.scale == 2.0);
  }
  SECTION("and where that choice belongs to another type, the type is named") {
    CHECK_THAT(problem("router: {type: c, depth: 5}\n"),
               Contains("router.depth: belongs to type a, b; here type is c"));
  }
}

TEST_CASE("lists are replaced") {
  Toy toy;
  toy.file("terms: [{type: z, coef: 1}]\nfiles: [a, b]\n");
  CHECK(toy.options.terms.size() == 1);
  CHECK(toy.options.terms[0].coef == 1.0);
  toy.file("terms: [{type: load}, {type: load}, {type: z}]\nfiles: [c]\n", "b.yaml");
  REQUIRE(toy.options.terms.size() == 3);
  CHECK(toy.options.terms[0].coef == 0.01);
  CHECK(toy.options.files == std::vector<std::string>{"c"});
  CHECK(toy.origins.text("terms.0.coef") == "default");
  toy.command({"terms=[]"});
  CHECK(toy.options.terms.empty());
  CHECK(toy.origins.text("terms") == "command line: terms=[]");
}

TEST_CASE("the command line reaches single elements of a list") {
  Toy toy;
  toy.command({"terms.1.coef=0.5"});
  CHECK(toy.options.terms[0].coef == 0.01);
  CHECK(toy.options.terms[1].coef == 0.5);
  CHECK(toy.options.terms[1].type == "z");
  CHECK(toy.origins.text("terms.1.coef") == "command line: terms.1.coef=0.5");
  CHECK_THAT(error_of([&] { toy.command({"terms.2.coef=1"}); }),
             Contains("`2` is not an element; the list has 2, numbered from 0"));
  CHECK_THAT(error_of([&] { toy.command({"terms.x.coef=1"}); }), Contains("`x` is not an element"));
  CHECK_THAT(error_of([&] { toy.command({"terms.-1.coef=1"}); }),
             Contains("`-1` is not an element"));
  CHECK_THAT(error_of([&] { toy.command({"terms.0.scop=micro"}); }),
             Contains("did you mean `terms.0.scope`?"));
  SECTION("but files do not") {
    CHECK_THAT(problem("terms: {0: {coef: 1}}\n"), Contains("is not a list of blocks"));
  }
  SECTION("with the rules of types") {
    CHECK_THAT(error_of([&] { toy.command({"terms.1.scope=micro"}); }),
               Contains("terms.1.scope: belongs to type load; here type is z"));
    toy.command({"terms.1.type=load", "terms.1.scope=micro"});
    CHECK(toy.options.terms[1].scope == "micro");
    CHECK(toy.options.terms[1].coef == 0.01);
  }
}

TEST_CASE("a type may have a default of its own") {
  Toy toy;
  toy.file("terms: [{type: z}, {type: load}, {type: z, coef: 3}]\n");
  CHECK(toy.options.terms[0].coef == 0.001);
  CHECK(toy.options.terms[1].coef == 0.01);
  CHECK(toy.options.terms[2].coef == 3.0);
}

TEST_CASE("an alias stands for a type with keys fixed") {
  Toy toy;
  toy.file("terms: [{type: switch, coef: 0.5}]\n");
  CHECK(toy.options.terms[0].type == "load");
  CHECK(toy.options.terms[0].scope == "micro");
  CHECK(toy.options.terms[0].coef == 0.5);
  CHECK(toy.origins.text("terms.0.scope") == "a.yaml:1:16");
  CHECK_THAT(problem("terms: [{scope: step, type: switch}]\n"),
             Contains("terms.0.scope: is fixed by the type at a.yaml:1:29; write `type: load`"));
  CHECK_THAT(problem("terms: [{type: swich}]\n"),
             Contains("did you mean `switch`? Allowed: load, z, switch"));
}

TEST_CASE("named blocks keep their order, gain names and change keys") {
  Toy toy;
  toy.file("domains: {b: {paths: [x]}, a: {weight: 2}}\n");
  toy.command({"domains.a.weight=3", "domains.c.paths=[y]"});
  REQUIRE(toy.options.domains.size() == 3);
  CHECK(toy.options.domains[0].first == "b");
  CHECK(toy.options.domains[0].second.paths == std::vector<std::string>{"x"});
  CHECK(toy.options.domains[1].first == "a");
  CHECK(toy.options.domains[1].second.weight == 3.0);
  CHECK(toy.options.domains[2].second.paths == std::vector<std::string>{"y"});
}

TEST_CASE("a check of several keys gets the place of the first that was set") {
  Origins origins;
  origins.set("train.steps", {"a.yaml", 3, 5});
  origins.set("moe.balance.0.coef", {"b.yaml", 1, 2});
  const auto marked = [&](const std::string& text) {
    return error_of([&] { with_marks(origins, [&] { throw ConfigError(text); }); });
  };
  CHECK(marked("train.steps: 3 is bad") == "[config] a.yaml:3:5: train.steps: 3 is bad");
  CHECK(marked("eval.every: 3 is above train.steps: 2") ==
        "[config] a.yaml:3:5: eval.every: 3 is above train.steps: 2");
  CHECK(marked("moe.balance.0.coef is bad") == "[config] b.yaml:1:2: moe.balance.0.coef is bad");
  CHECK(marked("nothing known, i.e. no key") == "[config] nothing known, i.e. no key");
  CHECK(error_of([&] { with_marks(origins, [] {}); }).empty());
}
