#include "core/config/fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/config/nearest.h"

namespace switchyard {
namespace {

constexpr double kUnbounded = 1e300;

std::string bound_text(const Field& field, double bound) {
  return field.kind == Field::Kind::kInteger ? fmt::format("{:.0f}", bound)
                                             : Value::of_number(bound).scalar;
}

/// " ≥ 1", " > 0 and < 1", "" without bounds.
std::string bounds_text(const Field& field) {
  std::string text;
  if (field.lowest > -kUnbounded)
    text += fmt::format(" {} {}", field.lowest_open ? ">" : "≥", bound_text(field, field.lowest));
  if (field.highest < kUnbounded)
    text += fmt::format("{} {} {}", text.empty() ? "" : " and", field.highest_open ? "<" : "≤",
                        bound_text(field, field.highest));
  return text;
}

std::string list_text(const Field& field, const std::string& what) {
  const std::string count = field.exact_length ? std::to_string(*field.exact_length) + " " : "";
  return "list of " + count + what;
}

/// The choice that a word means: itself or, for an error, the nearest.
void check_choice(const Field& field, const Value& value, const std::string& word,
                  const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), word) != allowed.end()) return;
  for (const auto& [other, ours] : field.other_words)
    if (edit_distance(word, other) == 0)
      value.fail(
          fmt::format("{} is called `{}` here; allowed: {}", value.shown(), ours, join(allowed)));
  value.fail(value.shown() + " is not one of the choices" + suggestion(word, allowed));
}

/// True where `value` is the word that stands for "not set".
bool is_word(const Field& field, const Value& value) {
  return value.is_scalar() && value.scalar == field.choices.at(0);
}

/// A word that is neither the one allowed nor a number.
void refuse_other_word(const Field& field, const Value& value) {
  const bool letter = value.is_scalar() && !value.scalar.empty() &&
                      std::isalpha(static_cast<unsigned char>(value.scalar[0])) != 0;
  if (value.is_scalar() && (value.quoted || !letter)) return;
  const std::string near = letter ? nearest(value.scalar, field.choices) : "";
  value.fail(fmt::format("{} is not allowed{}; allowed: {}", value.shown(),
                         near.empty() ? "" : "; did you mean `" + near + "`?", field.type_text()));
}

const Value::Kind kListKind = Value::Kind::kList;

void check_list(const Field& field, const Value& value) {
  if (value.kind != kListKind)
    value.fail(fmt::format("{} is not a list; allowed: {}, written [a, b]", value.shown(),
                           field.type_text()));
  if (field.exact_length && value.items.size() != *field.exact_length)
    value.fail(fmt::format("{} has {} entries; allowed: {}", value.shown(), value.items.size(),
                           field.type_text()));
}

int64_t read_step(const std::string& key, const Value& child) {
  Value step = Value::of_word(key);
  step.mark = step.key_mark = child.key_mark;
  step.path = child.path;
  const int64_t number = step.as_integer();
  if (number < 0) step.fail(fmt::format("{} is no step; allowed: integer ≥ 0", step.shown()));
  return number;
}

}  // namespace

Field& Field::at_least(double bound) {
  lowest = bound;
  lowest_open = false;
  return *this;
}

Field& Field::more_than(double bound) {
  lowest = bound;
  lowest_open = true;
  return *this;
}

Field& Field::at_most(double bound) {
  highest = bound;
  highest_open = false;
  return *this;
}

Field& Field::less_than(double bound) {
  highest = bound;
  highest_open = true;
  return *this;
}

Field& Field::length(size_t count) {
  exact_length = count;
  return *this;
}

Field& Field::only_for(std::vector<std::string> types, const std::string& key_of_choice) {
  owners = std::move(types);
  owner_key = key_of_choice;
  return *this;
}

Field& Field::default_for(const std::string& type, Value value) {
  type_defaults.emplace_back(type, std::move(value));
  return *this;
}

Field& Field::also_called(std::vector<std::string> names) {
  other_names.insert(other_names.end(), names.begin(), names.end());
  return *this;
}

Field& Field::also_spelled(std::vector<std::pair<std::string, std::string>> words) {
  other_words.insert(other_words.end(), words.begin(), words.end());
  return *this;
}

Field& Field::with_schema(const std::string& json) {
  schema = json;
  return *this;
}

std::string Field::type_text() const {
  const std::string or_word = kind != Kind::kChoice && !choices.empty() ? " | " + choices[0] : "";
  switch (kind) {
    case Kind::kFlag:
      return "true | false" + or_word;
    case Kind::kInteger:
      return "integer" + bounds_text(*this) + or_word;
    case Kind::kNumber:
      return "number" + bounds_text(*this) + or_word;
    case Kind::kStepNumber:
      return fmt::format("number{} | {{step: number, ...}}", bounds_text(*this));
    case Kind::kText:
      return "text";
    case Kind::kChoice:
      return join(choices, " | ");
    case Kind::kNumbers:
      return list_text(*this, "numbers") + bounds_text(*this);
    case Kind::kTexts:
      return list_text(*this, "texts");
    case Kind::kBlock:
      return "block";
    case Kind::kBlockList:
      return "list of blocks";
    case Kind::kNamedBlocks:
      return "names, each with a block";
    case Kind::kCustom:
      return form;
  }
  return "";
}

void Field::check_bounds(const Value& value, double number) const {
  const bool low = lowest_open ? number <= lowest : number < lowest;
  const bool high = highest_open ? number >= highest : number > highest;
  if (low || high)
    value.fail(fmt::format("{} is out of range; allowed: {}", value.shown(), type_text()));
}

Field& Fields::add(const std::string& key, Field::Kind kind, const std::string& help) {
  SWITCHYARD_CHECK(!find(key), "key {} is described twice", key);
  fields_.push_back(std::make_unique<Field>());
  Field& field = *fields_.back();
  field.key = key;
  field.kind = kind;
  field.help = help;
  return field;
}

Field& Fields::flag(const std::string& key, bool& target, const std::string& help) {
  Field& field = add(key, Field::Kind::kFlag, help);
  field.set = [&target](const Value& value) { target = value.as_flag(); };
  field.get = [&target] { return Value::of_flag(target); };
  return field;
}

Field& Fields::integer(const std::string& key, int64_t& target, const std::string& help) {
  Field& field = add(key, Field::Kind::kInteger, help);
  field.set = [&target, &field](const Value& value) {
    const int64_t integer = value.as_integer();
    field.check_bounds(value, static_cast<double>(integer));
    target = integer;
  };
  field.get = [&target] { return Value::of_integer(target); };
  return field;
}

Field& Fields::number(const std::string& key, double& target, const std::string& help) {
  Field& field = add(key, Field::Kind::kNumber, help);
  field.set = [&target, &field](const Value& value) {
    const double number = value.as_number();
    field.check_bounds(value, number);
    target = number;
  };
  field.get = [&target] { return Value::of_number(target); };
  return field;
}

Field& Fields::step_number(const std::string& key, StepValue& target, const std::string& help) {
  Field& field = add(key, Field::Kind::kStepNumber, help);
  field.set = [&target, &field](const Value& value) {
    StepValue read = read_step_value(value);
    for (const auto& [step, number] : read.pieces()) field.check_bounds(value, number);
    target = std::move(read);
  };
  field.get = [&target] { return print_step_value(target); };
  return field;
}

Field& Fields::text(const std::string& key, std::string& target, const std::string& help) {
  Field& field = add(key, Field::Kind::kText, help);
  field.set = [&target](const Value& value) { target = value.as_text(); };
  field.get = [&target] { return Value::of_text(target); };
  return field;
}

Field& Fields::choice(const std::string& key, std::string& target, std::vector<std::string> choices,
                      const std::string& help) {
  Field& field = add(key, Field::Kind::kChoice, help);
  field.choices = std::move(choices);
  field.set = [this, &target, &field](const Value& value) {
    std::vector<std::string> allowed = field.choices;
    if (field.key == "type")
      for (const Alias& a : aliases_) allowed.push_back(a.word);
    check_choice(field, value, value.as_text(), allowed);
    target = value.scalar;
  };
  field.get = [&target] { return Value::of_word(target); };
  return field;
}

Field& Fields::integer_or(const std::string& key, std::optional<int64_t>& target,
                          const std::string& word, const std::string& help) {
  Field& field = add(key, Field::Kind::kInteger, help);
  field.choices = {word};
  field.set = [&target, &field](const Value& value) {
    if (is_word(field, value)) return target.reset();
    refuse_other_word(field, value);
    const int64_t integer = value.as_integer();
    field.check_bounds(value, static_cast<double>(integer));
    target = integer;
  };
  field.get = [&target, word] {
    return target ? Value::of_integer(*target) : Value::of_word(word);
  };
  return field;
}

Field& Fields::number_or(const std::string& key, std::optional<double>& target,
                         const std::string& word, const std::string& help) {
  Field& field = add(key, Field::Kind::kNumber, help);
  field.choices = {word};
  field.set = [&target, &field](const Value& value) {
    if (is_word(field, value)) return target.reset();
    refuse_other_word(field, value);
    const double number = value.as_number();
    field.check_bounds(value, number);
    target = number;
  };
  field.get = [&target, word] { return target ? Value::of_number(*target) : Value::of_word(word); };
  return field;
}

Field& Fields::flag_or(const std::string& key, std::optional<bool>& target, const std::string& word,
                       const std::string& help) {
  Field& field = add(key, Field::Kind::kFlag, help);
  field.choices = {word};
  field.set = [&target, &field](const Value& value) {
    if (is_word(field, value)) return target.reset();
    const bool flag =
        value.is_scalar() && !value.quoted && (value.scalar == "true" || value.scalar == "false");
    if (!flag)
      value.fail(fmt::format("{} is not a flag; allowed: {}", value.shown(), field.type_text()));
    target = value.as_flag();
  };
  field.get = [&target, word] { return target ? Value::of_flag(*target) : Value::of_word(word); };
  return field;
}

Field& Fields::numbers(const std::string& key, std::vector<double>& target,
                       const std::string& help) {
  Field& field = add(key, Field::Kind::kNumbers, help);
  field.set = [&target, &field](const Value& value) {
    check_list(field, value);
    std::vector<double> numbers;
    for (const Value& item : value.items) {
      numbers.push_back(item.as_number());
      field.check_bounds(item, numbers.back());
    }
    target = std::move(numbers);
  };
  field.get = [&target] {
    std::vector<Value> items;
    for (const double number : target) items.push_back(Value::of_number(number));
    return Value::list(std::move(items));
  };
  return field;
}

Field& Fields::texts(const std::string& key, std::vector<std::string>& target,
                     const std::string& help) {
  Field& field = add(key, Field::Kind::kTexts, help);
  field.set = [&target, &field](const Value& value) {
    check_list(field, value);
    std::vector<std::string> texts;
    for (const Value& item : value.items) texts.push_back(item.as_text());
    target = std::move(texts);
  };
  field.get = [&target] {
    std::vector<Value> items;
    for (const std::string& text : target) items.push_back(Value::of_text(text));
    return Value::list(std::move(items));
  };
  return field;
}

Field& Fields::custom(const std::string& key, const std::string& form,
                      std::function<void(const Value&)> read, std::function<Value()> print,
                      const std::string& help) {
  Field& field = add(key, Field::Kind::kCustom, help);
  field.form = form;
  field.set = std::move(read);
  field.get = std::move(print);
  return field;
}

void Fields::alias(const std::string& word, const std::string& type,
                   std::vector<std::pair<std::string, Value>> fixed) {
  aliases_.push_back({word, type, std::move(fixed)});
}

const Field* Fields::find(const std::string& key) const {
  for (const auto& field : fields_)
    if (field->key == key) return field.get();
  return nullptr;
}

std::string Fields::word(const std::string& key) const {
  const Field* field = find(key);
  return field && field->get ? field->get().scalar : "";
}

bool Fields::is_owned(const Field& field) const {
  if (field.owners.empty()) return true;
  const Field* choice = find(field.owner_key);
  if (choice && !is_owned(*choice)) return false;
  const std::string chosen = word(field.owner_key);
  return std::find(field.owners.begin(), field.owners.end(), chosen) != field.owners.end();
}

Value Fields::present(const std::string& path) const {
  std::vector<std::pair<std::string, Value>> entries;
  for (const auto& field : fields_) {
    if (!is_owned(*field)) continue;
    Value value;
    if (field->block) {
      value = field->block->present();
    } else if (field->elements) {
      std::vector<Value> items;
      for (const auto& element : field->elements()) items.push_back(element->present());
      value = Value::list(std::move(items));
    } else if (field->extend) {
      std::vector<std::pair<std::string, Value>> named;
      for (const auto& [name, element] : field->extend({}))
        named.emplace_back(name, element->present());
      value = Value::of_map(std::move(named));
    } else {
      value = field->get();
      value.flow = true;
    }
    entries.emplace_back(field->key, std::move(value));
  }
  Value result = Value::of_map(std::move(entries));
  assign_paths(result, path);
  return result;
}

StepValue read_step_value(const Value& value) {
  if (!value.is_map()) return StepValue(value.as_number());
  std::map<int64_t, double> pieces;
  for (const auto& [key, child] : value.map) {
    const int64_t step = read_step(key, child);
    if (!pieces.emplace(step, child.as_number()).second)
      child.fail_key(fmt::format("step {} is given twice", step));
  }
  if (pieces.count(0) == 0)
    value.fail(fmt::format("{} has no value for step 0; allowed: {{0: number, step: number, ...}}",
                           value.shown()));
  return StepValue(std::move(pieces));
}

Value print_step_value(const StepValue& value) {
  if (value.is_constant()) return Value::of_number(value.at(0));
  std::vector<std::pair<std::string, Value>> map;
  for (const auto& [step, number] : value.pieces())
    map.emplace_back(std::to_string(step), Value::of_number(number));
  Value result = Value::of_map(std::move(map));
  result.flow = true;
  return result;
}

}  // namespace switchyard
