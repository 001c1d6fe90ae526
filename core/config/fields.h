#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/value.h"

namespace switchyard {

class Fields;

/// One key of a block: how to read it, print it and explain it. Made by Fields.
struct Field {
  enum class Kind { kFlag, kInteger, kNumber, kText, kChoice, kList, kBlock, kBlockList, kNamedBlocks, kCustom };

  std::string key;
  Kind kind;
  std::string help;                       ///< one sentence, for `config explain` and the key table
  std::string type_text;                  ///< "integer ≥ 1", "none | head | full", "list of numbers"
  std::vector<std::string> choices;       ///< of kChoice, and the words accepted beside a number
  std::vector<std::string> owners;        ///< values of the block's `type` that own this key; empty: all
  std::function<void(const Value&)> set;  ///< checks and stores; throws ConfigError at the value's mark
  std::function<Value()> get;             ///< the present value, as it would be written
  std::shared_ptr<Fields> block;          ///< kBlock: its fields
  std::function<std::shared_ptr<Fields>()> prototype;  ///< kBlockList, kNamedBlocks: fields of a default element

  /// Refuses values below, or at and below, a bound. For numbers and integers.
  Field& at_least(double bound);
  Field& more_than(double bound);
  Field& at_most(double bound);
  Field& less_than(double bound);
  /// The key belongs to these values of the block's `type` key only.
  Field& only_for(std::vector<std::string> types);

  double lowest = -1e300, highest = 1e300;
  bool lowest_open = false, highest_open = false;
};

/// The fields of one block of the config, bound to the members of an options struct. One function per
/// options struct fills it (`void describe(Fields&, RouterOptions&)`, beside the struct), and that one
/// description reads YAML, prints the resolved form, explains keys and makes the JSON Schema.
///
/// A block whose fields include one called `type` is a variant: fields with only_for() belong to some
/// types. Writing such a key in the same layer as a type that does not own it is an error; a later
/// layer that sets `type` first resets the whole block to its defaults.
class Fields {
 public:
  Field& flag(const std::string& key, bool& target, const std::string& help);
  /// Accepts 1e6 and 1_000 where integral; refuses 010, "5" and 1.5.
  Field& integer(const std::string& key, int64_t& target, const std::string& help);
  Field& number(const std::string& key, double& target, const std::string& help);
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
  Field& custom(const std::string& key, const std::string& type_text, std::function<void(const Value&)> read,
                std::function<Value()> print, const std::string& help);

  /// A nested block: options.router is described by describe(Fields&, RouterOptions&).
  template <class Options>
  Field& block(const std::string& key, Options& target, const std::string& help) {
    auto fields = std::make_shared<Fields>();
    describe(*fields, target);
    // Reset assigns a default-constructed struct; the bindings stay valid because they are by address.
    fields->reset_ = [&target] { target = Options{}; };
    return add_block(key, std::move(fields), help);
  }

  /// A list of blocks, replaced as a whole by a later layer: moe.balance.
  template <class Options>
  Field& blocks(const std::string& key, std::vector<Options>& target, const std::string& help) {
    return add_block_list(
        key,
        [&target](size_t n) {
          target.assign(n, Options{});
          std::vector<std::shared_ptr<Fields>> all;
          for (auto& element : target) {
            all.push_back(std::make_shared<Fields>());
            describe(*all.back(), element);
          }
          return all;
        },
        [&target] {
          std::vector<std::shared_ptr<Fields>> all;
          for (auto& element : target) {
            all.push_back(std::make_shared<Fields>());
            describe(*all.back(), element);
          }
          return all;
        },
        prototype<Options>(), help);
  }

  /// A map from names the user chooses to blocks, in the order written: data.domains.
  template <class Options>
  Field& named_blocks(const std::string& key, std::vector<std::pair<std::string, Options>>& target,
                      const std::string& help) {
    return add_named_blocks(
        key,
        [&target](const std::vector<std::string>& names) {
          target.clear();
          for (const auto& name : names) target.emplace_back(name, Options{});
          std::vector<std::shared_ptr<Fields>> all;
          for (auto& [name, element] : target) {
            all.push_back(std::make_shared<Fields>());
            describe(*all.back(), element);
          }
          return all;
        },
        [&target] {
          std::vector<std::pair<std::string, std::shared_ptr<Fields>>> all;
          for (auto& [name, element] : target) {
            all.emplace_back(name, std::make_shared<Fields>());
            describe(*all.back().second, element);
          }
          return all;
        },
        prototype<Options>(), help);
  }

  const std::vector<std::unique_ptr<Field>>& all() const { return fields_; }
  const Field* find(const std::string& key) const;
  void reset() const {
    if (reset_) reset_();
  }

 private:
  using Elements = std::vector<std::shared_ptr<Fields>>;
  using NamedElements = std::vector<std::pair<std::string, std::shared_ptr<Fields>>>;

  template <class Options>
  static std::function<std::shared_ptr<Fields>()> prototype() {
    return [] {
      // The options live as long as the fields that point into them.
      auto options = std::make_shared<Options>();
      auto fields = std::make_shared<Fields>();
      describe(*fields, *options);
      fields->owned_ = options;
      return fields;
    };
  }

  Field& add_block(const std::string& key, std::shared_ptr<Fields> fields, const std::string& help);
  Field& add_block_list(const std::string& key, std::function<Elements(size_t)> resize,
                        std::function<Elements()> present,
                        std::function<std::shared_ptr<Fields>()> prototype, const std::string& help);
  Field& add_named_blocks(const std::string& key,
                          std::function<Elements(const std::vector<std::string>&)> resize,
                          std::function<NamedElements()> present,
                          std::function<std::shared_ptr<Fields>()> prototype, const std::string& help);

  std::vector<std::unique_ptr<Field>> fields_;
  std::function<void()> reset_;
  std::shared_ptr<void> owned_;
};

}  // namespace switchyard
