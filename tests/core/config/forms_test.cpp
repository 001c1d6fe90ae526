#include "core/config/forms.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "core/config/layers.h"
#include "core/config/sources.h"
#include "core/config/yaml.h"
#include "tests/core/config/config_test_support.h"
#include "tests/core/config/toy_options.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;

namespace {

struct Toy {
  ToyConfig options;
  std::shared_ptr<Fields> fields = Fields::bind(options);
  Origins origins;

  explicit Toy(const std::string& text = "{}") {
    apply_layer(*fields, parse_yaml(text, "a.yaml"), origins);
  }
};

}  // namespace

TEST_CASE("the resolved config names the origin of every value") {
  Toy toy("count: 5\nterms: [{type: switch}]\n");
  apply_layer(*toy.fields, parse_overrides({"router.type=b"}), toy.origins);
  const std::string text = resolved_yaml(*toy.fields, toy.origins);
  CHECK_THAT(text, Contains("count: 5                                # a.yaml:1:8\n"));
  CHECK_THAT(text,
             Contains("  type: b                               # command line: router.type=b\n"));
  CHECK_THAT(text, Contains("  groups: 1                             # default\n"));
  CHECK_THAT(text, Contains("    scope: micro                        # a.yaml:2:16\n"));
}

TEST_CASE("the command line takes a number by step") {
  Toy toy;
  apply_layer(*toy.fields, parse_overrides({"decay={0: 0.2, 10: 0}"}), toy.origins);
  CHECK(toy.options.decay.at(9) == 0.2);
  CHECK(toy.options.decay.at(10) == 0);
}

TEST_CASE("the resolved config reads back to the same config") {
  for (const char* text :
       {"{}", "count: 5\nname: 'a: b # \"c\"'\nfiles: ['1', 'x, y', '']\n",
        "router: {type: b, groups: 4, schedule: deep, depth: 9}\nterms: []\n",
        "decay: {0: 0.1, 2e3: 0}\n",
        "terms: [{type: switch, coef: 1e-5}, {type: z}]\nthreads: 3\nfactor: 1.1\nnormalize: "
        "true\n",
        "domains: {a: {paths: ['#x']}, 'b c': {weight: 0.1}}\nbetas: [0, 0.999]\nname: 'yes'\n"}) {
    CAPTURE(text);
    const Toy first{text};
    const std::string written = resolved_yaml(*first.fields, first.origins);
    CAPTURE(written);
    const Toy second{written};
    CHECK(to_yaml(second.fields->present()) == to_yaml(first.fields->present()));
    CHECK(diff(first.fields->present(), second.fields->present()).empty());
  }
}

TEST_CASE("a difference is one line with both values") {
  const Toy a("count: 5\nterms: [{type: z, coef: 1}]\nbetas: [0.1, 0.2]\n");
  const Toy b("count: 6\nterms: [{type: z, coef: 2}]\nrouter: {type: b}\nbetas: [0.1, 0.3]\n");
  CHECK(diff(a.fields->present(), b.fields->present()) ==
        "count: 5 → 6\nbetas: [0.1, 0.2] → [0.1, 0.3]\nrouter.type: a → b\nrouter.groups: (none) → "
        "1\nterms.0.coef: 1 → 2\n");
  CHECK(diff(b.fields->present(), a.fields->present()).find("router.groups: 1 → (none)\n") !=
        std::string::npos);
  SECTION("and lists of other lengths differ as a whole") {
    const Toy c("terms: []\n");
    CHECK_THAT(diff(a.fields->present(), c.fields->present()),
               Contains("terms: [{type: z, coef: 1}] → []\n"));
  }
}

TEST_CASE("explain tells type, default, owner and other names of one key") {
  const Toy toy;
  CHECK(explain(*toy.fields, "count") ==
        "count: integer ≥ 1 and ≤ 100  (default: 4)\n  A count.\n  known elsewhere as: n_count\n");
  CHECK(explain(*toy.fields, "router.groups") ==
        "router.groups: integer ≥ 1  (default: 1)\n  Groups.\n  only with type: b\n  known "
        "elsewhere as: n_group\n");
  CHECK_THAT(explain(*toy.fields, "terms[].coef"),
             Contains("terms[].coef: number ≥ 0  (default: 0.01, for z 0.001)"));
  SECTION("by any form of the path") {
    CHECK(explain(*toy.fields, "terms.coef") == explain(*toy.fields, "terms[].coef"));
    CHECK(explain(*toy.fields, "terms.0.coef") == explain(*toy.fields, "terms[].coef"));
    CHECK(explain(*toy.fields, "domains.NAME.weight") == explain(*toy.fields, "domains.weight"));
    CHECK(explain(*toy.fields, "domains.prose.weight") == explain(*toy.fields, "domains.weight"));
  }
  SECTION("of a block with all its keys") {
    CHECK_THAT(explain(*toy.fields, "router"),
               Contains("router: block\n") && Contains("router.depth: integer"));
    CHECK_THAT(explain(*toy.fields, "terms"),
               Contains("terms[].type: switch means load, scope: micro"));
  }
  SECTION("of everything") {
    CHECK_THAT(explain(*toy.fields, ""),
               Contains("flag: true | false") && Contains("domains.NAME.weight"));
  }
  SECTION("and an unknown one gets the nearest") {
    CHECK_THAT(error_of([&] { explain(*toy.fields, "router.group"); }),
               Contains("router.group: unknown key; did you mean `router.groups`?"));
    CHECK_THAT(error_of([&] { explain(*toy.fields, "count.x"); }),
               Contains("count.x: count has no keys below it"));
    CHECK_THAT(error_of([&] { explain(*toy.fields, "..."); }), Contains("is not a key path"));
  }
}

TEST_CASE("the JSON Schema describes every kind of key") {
  const Toy toy;
  const auto schema = nlohmann::json::parse(json_schema(*toy.fields));
  CHECK(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  CHECK(schema["additionalProperties"] == false);
  const auto& keys = schema["properties"];
  CHECK(keys["flag"]["type"] == "boolean");
  CHECK(keys["count"]["type"] == "integer");
  CHECK(keys["count"]["minimum"] == 1);
  CHECK(keys["count"]["maximum"] == 100);
  CHECK(keys["rate"]["exclusiveMinimum"] == 0);
  CHECK(keys["word"]["enum"] == nlohmann::json({"red", "green", "dark_blue"}));
  CHECK(keys["threads"]["anyOf"][1]["const"] == "auto");
  CHECK(keys["betas"]["maxItems"] == 2);
  CHECK(keys["custom"]["type"] == "integer");
  CHECK(keys["decay"]["anyOf"][0]["minimum"] == 0);
  CHECK(keys["decay"]["anyOf"][1]["type"] == "object");
  CHECK(keys["decay"]["default"] == 0.1);
  CHECK(keys["router"]["properties"]["groups"]["description"] == "Groups. Only with type: b");
  CHECK(keys["terms"]["items"]["properties"]["type"]["enum"] ==
        nlohmann::json({"load", "z", "switch"}));
  CHECK(keys["domains"]["additionalProperties"]["properties"]["weight"]["type"] == "number");
  CHECK(keys["base"]["anyOf"].size() == 2);
}

TEST_CASE("defaults in the schema have the type of their key") {
  const Toy toy;
  const auto keys = nlohmann::json::parse(json_schema(*toy.fields))["properties"];
  CHECK(keys["flag"]["default"] == false);
  CHECK(keys["count"]["default"] == 4);
  CHECK(keys["rate"]["default"] == 0.5);
  CHECK(keys["threads"]["default"] == "auto");
  CHECK(keys["betas"]["default"] == nlohmann::json({0.9, 0.95}));
  CHECK(keys["name"]["default"] == "x");
}

TEST_CASE("the key tables have one row for each key") {
  const Toy toy;
  const std::string text = key_tables(*toy.fields);
  CHECK_THAT(text, Contains("\n## Top level\n"));
  CHECK_THAT(text, Contains("| `count` | integer ≥ 1 and ≤ 100 | `4` | A count. |\n"));
  CHECK_THAT(text, Contains("| `threads` | integer ≥ 1 \\| auto | `auto` | Threads. |\n"));
  CHECK_THAT(text, Contains("\n## `router`\n"));
  CHECK_THAT(text, Contains("| `groups` | integer ≥ 1 | `1` | Groups. Only with type b. |\n"));
  CHECK_THAT(text, Contains("\n## `terms[]`\n"));
  CHECK_THAT(text, Contains("\n## `domains.NAME`\n"));
  CHECK_THAT(text, Contains("`type: switch` means `type: load`, `scope: micro`.\n"));
}
