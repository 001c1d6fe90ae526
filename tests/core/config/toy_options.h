#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/fields.h"

namespace switchyard::config_test {

/// A block with variants: `groups` belongs to type b, `depth` to schedule deep of types a and b.
struct ToyRouter {
  std::string type = "a";
  int64_t groups = 1;
  double scale = 1.0;
  std::string schedule = "flat";
  int64_t depth = 2;
};

struct ToyTerm {
  std::string type = "load";
  double coef = 0.01;
  std::string scope = "step";
};

struct ToyDomain {
  std::vector<std::string> paths;
  double weight = 1;
};

/// One key of every kind.
struct ToyConfig {
  bool flag = false;
  int64_t count = 4;
  double rate = 0.5;
  std::string name = "x";
  std::string word = "red";
  std::optional<int64_t> threads;
  std::optional<double> factor;
  std::optional<bool> normalize;
  std::vector<double> betas = {0.9, 0.95};
  std::vector<std::string> files;
  int64_t custom = 3;
  StepValue decay = 0.1;
  ToyRouter router;
  std::vector<ToyTerm> terms = {{"load", 0.01, "step"}, {"z", 0.001, "step"}};
  std::vector<std::pair<std::string, ToyDomain>> domains;
};

inline void describe(Fields& fields, ToyRouter& options) {
  fields.choice("type", options.type, {"a", "b", "c"}, "The type.").also_spelled({{"bee", "b"}});
  fields.integer("groups", options.groups, "Groups.")
      .at_least(1)
      .only_for({"b"})
      .also_called({"n_group"});
  fields.number("scale", options.scale, "Scale.").more_than(0);
  fields.choice("schedule", options.schedule, {"flat", "deep"}, "Schedule.").only_for({"a", "b"});
  fields.integer("depth", options.depth, "Depth.").only_for({"deep"}, "schedule");
}

inline void describe(Fields& fields, ToyTerm& options) {
  fields.choice("type", options.type, {"load", "z"}, "The term.");
  fields.alias("switch", "load", {{"scope", Value::of_word("micro")}});
  fields.number("coef", options.coef, "Coefficient.")
      .at_least(0)
      .default_for("z", Value::of_number(0.001));
  fields.choice("scope", options.scope, {"step", "micro"}, "Scope.").only_for({"load"});
}

inline void describe(Fields& fields, ToyDomain& options) {
  fields.texts("paths", options.paths, "Files.");
  fields.number("weight", options.weight, "Weight.").more_than(0);
}

inline void describe(Fields& fields, ToyConfig& options) {
  fields.flag("flag", options.flag, "A flag.");
  fields.integer("count", options.count, "A count.")
      .at_least(1)
      .at_most(100)
      .also_called({"n_count"});
  fields.number("rate", options.rate, "A rate.").more_than(0).less_than(1);
  fields.text("name", options.name, "A name.");
  fields.choice("word", options.word, {"red", "green", "dark_blue"}, "A word.")
      .also_spelled({{"rouge", "red"}});
  fields.integer_or("threads", options.threads, "auto", "Threads.").at_least(1);
  fields.number_or("factor", options.factor, "none", "A factor.").more_than(0);
  fields.flag_or("normalize", options.normalize, "auto", "Normalise.");
  fields.numbers("betas", options.betas, "Betas.").length(2).at_least(0).less_than(1);
  fields.texts("files", options.files, "Files.");
  fields
      .custom(
          "custom", "integer | odd",
          [&options](const Value& value) { options.custom = value.as_integer(); },
          [&options] { return Value::of_integer(options.custom); }, "Custom.")
      .with_schema(R"({"type": "integer"})");
  fields.step_number("decay", options.decay, "A number by step.").at_least(0);
  fields.block("router", options.router, "A block.");
  fields.blocks("terms", options.terms, "A list of blocks.");
  fields.named_blocks("domains", options.domains, "Named blocks.");
}

}  // namespace switchyard::config_test
