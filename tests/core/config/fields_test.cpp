#include "core/config/fields.h"

#include <catch2/catch.hpp>

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

  /// Sets one key from YAML text.
  void set(const std::string& key, const std::string& text) const {
    Value root = parse_yaml(fmt::format("{}: {}", key, text), "a.yaml");
    fields->find(key)->set(*root.find(key));
  }
  std::string problem(const std::string& key, const std::string& text) const {
    return error_of([&] { set(key, text); });
  }
};

}  // namespace

TEST_CASE("every kind of key stores what it reads") {
  Toy toy;
  toy.set("flag", "true");
  toy.set("count", "1e1");
  toy.set("rate", "2.5e-1");
  toy.set("name", "'a b'");
  toy.set("word", "green");
  toy.set("threads", "8");
  toy.set("factor", "1.25");
  toy.set("normalize", "false");
  toy.set("betas", "[0.8, 0.99]");
  toy.set("files", "[a.txt, 'b c.txt']");
  toy.set("custom", "5");
  CHECK(toy.options.flag);
  CHECK(toy.options.count == 10);
  CHECK(toy.options.rate == 0.25);
  CHECK(toy.options.name == "a b");
  CHECK(toy.options.word == "green");
  CHECK(toy.options.threads == 8);
  CHECK(toy.options.factor == 1.25);
  CHECK(toy.options.normalize == false);
  CHECK(toy.options.betas == std::vector<double>{0.8, 0.99});
  CHECK(toy.options.files == std::vector<std::string>{"a.txt", "b c.txt"});
  CHECK(toy.options.custom == 5);
}

TEST_CASE("the word beside a number means that it is not set") {
  Toy toy;
  toy.options.threads = 3;
  toy.options.factor = 2.0;
  toy.options.normalize = true;
  toy.set("threads", "auto");
  toy.set("factor", "none");
  toy.set("normalize", "'auto'");
  CHECK_FALSE(toy.options.threads);
  CHECK_FALSE(toy.options.factor);
  CHECK_FALSE(toy.options.normalize);
  CHECK_THAT(toy.problem("threads", "atuo"),
             Equals("[config] a.yaml:1:10: threads: `atuo` is not allowed; did you mean `auto`?; "
                    "allowed: integer ≥ 1 | auto"));
  CHECK_THAT(toy.problem("threads", "none"), Contains("allowed: integer ≥ 1 | auto"));
  CHECK_THAT(toy.problem("factor", "'1.5'"), Contains("remove the quotes"));
  CHECK_THAT(toy.problem("normalize", "yes"), Contains("allowed: true | false | auto"));
  CHECK_THAT(toy.problem("factor", "[1]"),
             Contains("`[1]` is not allowed; allowed: number > 0 | none"));
}

TEST_CASE("a number by step is one number or a map from steps") {
  Toy toy;
  CHECK(toy.options.decay.at(0) == 0.1);
  toy.set("decay", "0.5");
  CHECK(toy.options.decay.is_constant());
  CHECK(toy.options.decay.at(1000000) == 0.5);

  toy.set("decay", "{0: 0.001, 1_000: 0, 1e4: 2e-3}");
  CHECK(toy.options.decay.at(0) == 0.001);
  CHECK(toy.options.decay.at(999) == 0.001);
  CHECK(toy.options.decay.at(1000) == 0);
  CHECK(toy.options.decay.at(9999) == 0);
  CHECK(toy.options.decay.at(10000) == 0.002);

  SECTION("it reads back from the resolved form") {
    const std::string text = to_yaml(toy.fields->present());
    CHECK_THAT(text, Contains("decay: {\"0\": 0.001, \"1000\": 0, \"10000\": 0.002}\n"));
    const Toy again;
    again.fields->find("decay")->set(*parse_yaml(text, "b.yaml").find("decay"));
    CHECK(again.options.decay.pieces() == toy.options.decay.pieces());
  }
  SECTION("the steps begin at 0 and occur once, the numbers keep the bounds") {
    CHECK_THAT(toy.problem("decay", "{10: 1}"), Contains("has no value for step 0"));
    CHECK_THAT(toy.problem("decay", "{0: 1, 1e1: 2, 10: 3}"), Contains("step 10 is given twice"));
    CHECK_THAT(toy.problem("decay", "{0: 1, x: 2}"), Contains("`x` is not"));
    CHECK_THAT(toy.problem("decay", "{0: 1, -5: 2}"), Contains("allowed: integer ≥ 0"));
    CHECK_THAT(toy.problem("decay", "{0: 1, 5: -2}"), Contains("is out of range"));
    CHECK_THAT(toy.problem("decay", "fast"), Contains("`fast` is not a number"));
    CHECK_THAT(toy.problem("decay", "-1"), Contains("allowed: number ≥ 0 | {step: number, ...}"));
  }
}

TEST_CASE("bounds are checked, open and closed") {
  const Toy toy;
  CHECK(toy.problem("count", "1").empty());
  CHECK(toy.problem("count", "100").empty());
  CHECK_THAT(
      toy.problem("count", "0"),
      Equals("[config] a.yaml:1:8: count: `0` is out of range; allowed: integer ≥ 1 and ≤ 100"));
  CHECK_THAT(toy.problem("count", "101"), Contains("is out of range"));
  CHECK_THAT(toy.problem("rate", "0"), Contains("allowed: number > 0 and < 1"));
  CHECK_THAT(toy.problem("rate", "1"), Contains("is out of range"));
  CHECK_THAT(toy.problem("threads", "0"), Contains("allowed: integer ≥ 1 | auto"));
  CHECK_THAT(toy.problem("factor", "-1"), Contains("allowed: number > 0 | none"));
  SECTION("and a refused value leaves the old one") {
    CHECK(toy.options.count == 100);
  }
  SECTION("so are those of fp32, for every form of a number") {
    const std::string beyond = "is beyond ±3.4028235e+38, the largest number of fp32";
    CHECK_THAT(toy.problem("factor", "1e39"), Contains("`1e39` " + beyond));
    CHECK_THAT(toy.problem("rate", "1e39"), Contains(beyond));
    CHECK_THAT(toy.problem("betas", "[0.9, 1e300]"), Contains("betas.1: `1e300` " + beyond));
    CHECK_THAT(toy.problem("decay", "1e39"), Contains(beyond));
    CHECK_THAT(toy.problem("decay", "{0: 1, 5: -1e39}"), Contains("decay.5: `-1e39` " + beyond));
    CHECK(toy.problem("factor", "3.4028235e38").empty());
  }
  SECTION("and a bound of integers is shown as one") {
    Fields fields;
    int64_t count = 0;
    CHECK(fields.integer("count", count, "").at_most(100'000).type_text() == "integer ≤ 100000");
  }
}

TEST_CASE("lists are checked entry by entry") {
  const Toy toy;
  CHECK_THAT(toy.problem("betas", "[0.9, 1.0]"),
             Contains("a.yaml:1:14: betas.1: `1.0` is out of range"));
  CHECK_THAT(toy.problem("betas", "[0.9]"),
             Contains("has 1 entries; allowed: list of 2 numbers ≥ 0 and < 1"));
  CHECK_THAT(toy.problem("betas", "0.9"),
             Contains("`0.9` is not a list; allowed: list of 2 numbers"));
  CHECK_THAT(toy.problem("betas", "[0.9, x]"), Contains("betas.1: `x` is not a number"));
  CHECK_THAT(toy.problem("files", "a.txt"),
             Contains("is not a list; allowed: list of texts, written [a, b]"));
  CHECK_THAT(toy.problem("files", "[[a]]"), Contains("files.0: `[a]` is not text"));
  CHECK(toy.options.betas == std::vector<double>{0.9, 0.95});
}

TEST_CASE("a wrong choice gets the nearest one") {
  const Toy toy;
  CHECK_THAT(toy.problem("word", "gren"),
             Equals("[config] a.yaml:1:7: word: `gren` is not one of the choices; did you mean "
                    "`green`? Allowed: red, green, dark_blue"));
  CHECK_THAT(toy.problem("word", "darkBlue"), Contains("did you mean `dark_blue`?"));
  CHECK_THAT(toy.problem("word", "banana"), Contains("; allowed: red, green, dark_blue"));
  SECTION("or ours for another program's word") {
    CHECK_THAT(toy.problem("word", "Rouge"), Contains("`Rouge` is called `red` here"));
  }
  SECTION("and a quoted choice is fine") {
    CHECK(toy.problem("word", "'green'").empty());
  }
}

TEST_CASE("the resolved form has every owned key with its present value") {
  Toy toy;
  CHECK(to_yaml(toy.fields->present()) ==
        "flag: false\ncount: 4\nrate: 0.5\nname: x\nword: red\nthreads: auto\nfactor: "
        "none\nnormalize: auto\n"
        "betas: [0.9, 0.95]\nfiles: []\ncustom: 3\ndecay: 0.1\nrouter:\n  type: a\n  scale: 1\n  "
        "schedule: flat\n"
        "terms:\n  - type: load\n    coef: 0.01\n    scope: step\n  - type: z\n    coef: "
        "0.001\ndomains: {}\n");
  SECTION("keys of other types are left out") {
    toy.fields->find("router")->block->find("type")->set(Value::of_word("b"));
    CHECK(toy.fields->find("router")->block->present().find("groups") != nullptr);
    toy.fields->find("router")->block->find("type")->set(Value::of_word("c"));
    CHECK(toy.fields->find("router")->block->present().find("groups") == nullptr);
  }
  SECTION("also where the choice that owns them belongs to another type") {
    toy.options.router.schedule = "deep";
    CHECK(toy.fields->find("router")->block->present().find("depth") != nullptr);
    toy.fields->find("router")->block->find("type")->set(Value::of_word("c"));
    CHECK(toy.fields->find("router")->block->present().find("depth") == nullptr);
  }
}

TEST_CASE("a reset block has its defaults, and its bindings stay valid") {
  Toy toy;
  const auto router = toy.fields->find("router")->block;
  toy.options.router.groups = 7;
  router->reset();
  CHECK(toy.options.router.groups == 1);
  router->find("groups")->set(Value::of_integer(9));
  CHECK(toy.options.router.groups == 9);
}

TEST_CASE("a key described twice is our own bug") {
  Fields fields;
  bool flag = false;
  fields.flag("a", flag, "");
  CHECK_THROWS_AS(fields.flag("a", flag, ""), InternalError);
}

TEST_CASE("the fields of a default element outlive the call that makes them") {
  const Toy toy;
  const auto element = toy.fields->find("terms")->prototype();
  CHECK(element->find("coef")->get().scalar == "0.01");
}
