#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/step_value.h"
#include "core/config/value.h"

namespace switchyard {

class Fields;

/// One key of a block: how to read it, print it and explain it. Made by Fields.
struct Field {
  enum class Kind {
    kFlag,
    kInteger,
    kNumber,
    kStepNumber,
    kText,
    kChoice,
    kNumbers,
    kTexts,
    kBlock,
    kBlockList,
    kNamedBlocks,
    kCustom
  };
  using Elements = std::vector<std::shared_ptr<Fields>>;
  using NamedElements = std::vector<std::pair<std::string, std::shared_ptr<Fields>>>;

  std::string key;
  Kind kind;
  std::string help;                  ///< one sentence, for `config explain` and the key table
  std::string form;                  ///< kCustom: what may be written, "all | none | {every: 2}"
  std::vector<std::string> choices;  ///< of kChoice, and the word accepted beside a number
  std::vector<std::string> owners;   ///< values of `owner_key` that own this key; empty: all
  std::string owner_key = "type";    ///< the key of the same block that `owners` speaks of
  std::vector<std::string> other_names;  ///< what other programs call this key
  std::vector<std::pair<std::string, std::string>>
      other_words;  ///< other programs' word → our choice
  std::vector<std::pair<std::string, Value>> type_defaults;  ///< value of `type` → default
  std::string schema;                      ///< kCustom: its JSON Schema; empty: anything
  std::function<void(const Value&)> set;   ///< checks and stores; ConfigError at the value's mark
  std::function<Value()> get;              ///< the present value, as it would be written
  std::shared_ptr<Fields> block;           ///< kBlock: its fields
  std::function<Elements(size_t)> resize;  ///< kBlockList: n default elements
  std::function<Elements()> elements;      ///< kBlockList: the present ones
  /// kNamedBlocks: adds the names that are missing; all elements, in order.
  std::function<NamedElements(const std::vector<std::string>&)> extend;
  std::function<std::shared_ptr<Fields>()>
      prototype;  ///< kBlockList, kNamedBlocks: a default element

  /// Refuses values below, or at and below, a bound. For numbers and integers.
  Field& at_least(double bound);
  Field& more_than(double bound);
  Field& at_most(double bound);
  Field& less_than(double bound);
  /// A list must have exactly this many entries.
  Field& length(size_t count);
  /// The key belongs to these values of the block's `type` key only (or of another choice there).
  Field& only_for(std::vector<std::string> types, const std::string& key_of_choice = "type");
  /// The default where the block's `type` is `type`.
  Field& default_for(const std::string& type, Value value);
  /// Names that other programs use for this key: an unknown key of that name gets pointed here.
  Field& also_called(std::vector<std::string> names);
  /// Words that other programs use for a choice: {"float32", "fp32"}.
  Field& also_spelled(std::vector<std::pair<std::string, std::string>> words);
  Field& with_schema(const std::string& json);

  /// What may be written: "integer ≥ 1", "none | head | full", "list of 2 numbers ≥ 0".
  std::string type_text() const;
  /// Throws ConfigError at `value` unless `number` is within the bounds.
  void check_bounds(const Value& value, double number) const;

  double lowest = -1e300, highest = 1e300;
  bool lowest_open = false, highest_open = false;
  std::optional<size_t> exact_length;
};

/// The fields of one block of the config, bound to the members of an options struct. One function
/// per options struct fills it (`void describe(Fields&, RouterOptions&)`, beside the struct), and
/// that one description reads YAML, prints the resolved form, explains keys and makes the JSON
/// Schema.
///
/// A block whose fields include one called `type` is a variant: fields with only_for() belong to
/// some types. Writing such a key in the same layer as a type that does not own it is an error; a
/// later layer that sets `type` first resets the whole block to its defaults.
class Fields {
 public:
  /// A word for `type` that stands for another type with some keys fixed.
  struct Alias {
    std::string word, type;
    std::vector<std::pair<std::string, Value>> fixed;
  };

  Fields() = default;
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  Field& flag(const std::string& key, bool& target, const std::string& help);
  /// Accepts 1e6 and 1_000 where integral; refuses 010, "5" and 1.5.
  Field& integer(const std::string& key, int64_t& target, const std::string& help);
  Field& number(const std::string& key, double& target, const std::string& help);
  /// A number, or {step: number, ...}, each within the bounds.
  Field& step_number(const std::string& key, StepValue& target, const std::string& help);
  Field& text(const std::string& key, std::string& target, const std::string& help);
  /// A word out of `choices`.
  Field& choice(const std::string& key, std::string& target, std::vector<std::string> choices,
                const std::string& help);
  /// An integer (number) or the word `word`, which is nullopt: "auto", "none".
  Field& integer_or(const std::string& key, std::optional<int64_t>& target, const std::string& word,
                    const std::string& help);
  Field& number_or(const std::string& key, std::optional<double>& target, const std::string& word,
                   const std::string& help);
  Field& flag_or(const std::string& key, std::optional<bool>& target, const std::string& word,
                 const std::string& help);
  Field& numbers(const std::string& key, std::vector<double>& target, const std::string& help);
  Field& texts(const std::string& key, std::vector<std::string>& target, const std::string& help);
  /// A value with a form of its own; `read` throws ConfigError through Value's helpers.
  Field& custom(const std::string& key, const std::string& form,
                std::function<void(const Value&)> read, std::function<Value()> print,
                const std::string& help);
  /// `type: word` means `type: type` with these keys fixed.
  void alias(const std::string& word, const std::string& type,
             std::vector<std::pair<std::string, Value>> fixed);

  /// A nested block: options.router is described by describe(Fields&, RouterOptions&).
  template <class Options>
  Field& block(const std::string& key, Options& target, const std::string& help) {
    Field& field = add(key, Field::Kind::kBlock, help);
    field.block = bind(target);
    return field;
  }

  /// A list of blocks, replaced as a whole by a later layer: moe.balance. A command line may change
  /// one key of one element: moe.balance.0.coef=1e-2.
  template <class Options>
  Field& blocks(const std::string& key, std::vector<Options>& target, const std::string& help) {
    Field& field = add(key, Field::Kind::kBlockList, help);
    field.elements = [&target] {
      Field::Elements all;
      for (auto& element : target) all.push_back(bind(element));
      return all;
    };
    field.resize = [&target, &field](size_t n) {
      target.assign(n, Options{});
      return field.elements();
    };
    field.prototype = prototype<Options>();
    return field;
  }

  /// A map from names the user chooses to blocks, in the order written: data.domains. A later layer
  /// adds names and changes keys of those there.
  template <class Options>
  Field& named_blocks(const std::string& key, std::vector<std::pair<std::string, Options>>& target,
                      const std::string& help) {
    Field& field = add(key, Field::Kind::kNamedBlocks, help);
    field.extend = [&target](const std::vector<std::string>& names) {
      for (const auto& name : names) {
        bool known = false;
        for (const auto& entry : target) known = known || entry.first == name;
        if (!known) target.emplace_back(name, Options{});
      }
      Field::NamedElements all;
      for (auto& [name, element] : target) all.emplace_back(name, bind(element));
      return all;
    };
    field.prototype = prototype<Options>();
    return field;
  }

  const std::vector<std::unique_ptr<Field>>& all() const { return fields_; }
  const std::vector<Alias>& aliases() const { return aliases_; }
  const Field* find(const std::string& key) const;
  /// The present value of a choice such as `type`; "" where there is no such key.
  std::string word(const std::string& key) const;
  /// False where the present `type` (or other choice) does not own the field.
  bool is_owned(const Field& field) const;
  /// Gives every member its default.
  void reset() const {
    if (reset_) reset_();
  }
  /// The resolved form: every owned key with its present value; paths start with `path`.
  Value present(const std::string& path = "") const;

  /// The fields of `options`, by describe(Fields&, Options&); `options` must outlive them.
  template <class Options>
  static std::shared_ptr<Fields> bind(Options& options) {
    auto fields = std::make_shared<Fields>();
    describe(*fields, options);
    // Bindings are by address, so they stay valid when the struct is assigned.
    fields->reset_ = [&options] {
      const Options defaults;
      options = defaults;
    };
    return fields;
  }

 private:
  template <class Options>
  static std::function<std::shared_ptr<Fields>()> prototype() {
    return [] {
      // The options live as long as the fields that point into them.
      auto options = std::make_shared<Options>();
      auto fields = bind(*options);
      fields->owned_ = options;
      return fields;
    };
  }

  Field& add(const std::string& key, Field::Kind kind, const std::string& help);

  std::vector<std::unique_ptr<Field>> fields_;
  std::vector<Alias> aliases_;
  std::function<void()> reset_;
  std::shared_ptr<void> owned_;
};

/// A number, or {step: number, ...} with integer steps from 0; ConfigError at the value.
StepValue read_step_value(const Value& value);
/// The number, or the map: reads back to the same.
Value print_step_value(const StepValue& value);

}  // namespace switchyard
