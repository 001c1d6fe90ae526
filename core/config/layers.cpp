#include "core/config/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/base/error.h"
#include "core/config/nearest.h"
#include "core/config/yaml.h"

namespace switchyard {
namespace {

constexpr size_t kMostSuggestions = 3;

/// The problems of one layer; the one that stands first is reported.
class Problems {
 public:
  /// Runs `action`; keeps what it throws, with its place.
  void collect(const Mark& mark, const std::function<void()>& action) {
    try {
      action();
    } catch (const ConfigError& error) {
      found_.push_back({mark, error});
    }
  }

  void throw_first() const {
    if (found_.empty()) return;
    const auto first =
        std::min_element(found_.begin(), found_.end(), [](const auto& a, const auto& b) {
          return std::pair(a.mark.line, a.mark.column) < std::pair(b.mark.line, b.mark.column);
        });
    throw first->error;
  }

 private:
  struct Problem {
    Mark mark;
    ConfigError error;
  };
  std::vector<Problem> found_;
};

std::optional<size_t> parse_index(const std::string& text) {
  size_t index = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return index;
}

class Applier {
 public:
  Applier(Fields& root, Origins& origins) : root_(root), origins_(origins) {}

  void apply_block(Fields& fields, const Value& block) {
    if (block.is_null())
      return problems_.collect(block.key_mark, [&] {
        block.fail_key("has no value; write its keys below it, {} for none, or remove the key");
      });
    if (!block.is_map())
      return problems_.collect(block.mark, [&] {
        block.fail(fmt::format("{} is not a block of keys{}", block.shown(), block_hint(fields)));
      });
    std::vector<std::string> fixed;
    const Value* type = fields.find("type") ? block.find("type") : nullptr;
    const bool type_is_known = !type || apply_type(fields, *type, block.path, fixed);
    for (const auto& [key, value] : block.map)
      if (!type || key != "type") apply_key(fields, key, value, block.path);
    for (const auto& [key, value] : block.map)
      check_owner(fields, key, value, type_is_known, fixed);
  }

  const Problems& problems() const { return problems_; }

 private:
  /// False where the word is no type of this block.
  bool apply_type(Fields& fields, const Value& type, const std::string& path,
                  std::vector<std::string>& fixed) {
    const Field& field = *fields.find("type");
    bool known = false;
    problems_.collect(type.mark, [&] {
      if (type.is_null()) type.fail_key("has no value; allowed: " + field.type_text());
      field.set(type);
      known = true;
    });
    if (!known) return false;
    fields.reset();
    origins_.erase(path);
    Value word = type;
    const Fields::Alias* alias = nullptr;
    for (const auto& candidate : fields.aliases())
      if (candidate.word == type.scalar) alias = &candidate;
    if (alias) word.scalar = alias->type;
    field.set(word);
    origins_.set(type.path, type.mark);
    for (const auto& other : fields.all())
      for (const auto& [name, value] : other->type_defaults)
        if (name == word.scalar) other->set(value);
    if (!alias) return true;
    for (const auto& [key, value] : alias->fixed) {
      fields.find(key)->set(value);
      origins_.set(join_path(path, key), type.mark);
      fixed.push_back(key);
    }
    return true;
  }

  void apply_key(Fields& fields, const std::string& key, const Value& value,
                 const std::string& path) {
    const Field* field = fields.find(key);
    if (!field)
      return problems_.collect(value.key_mark, [&] {
        value.fail_key("unknown key" + key_suggestion(root_, fields, path, key));
      });
    if (field->block) return apply_block(*field->block, value);
    if (value.is_null())
      return problems_.collect(
          value.key_mark, [&] { value.fail_key("has no value; allowed: " + field->type_text()); });
    if (field->resize) return apply_list(*field, value);
    if (field->extend) return apply_named(*field, value);
    problems_.collect(value.mark, [&] {
      field->set(value);
      origins_.set(value.path, value.mark);
    });
  }

  void apply_list(const Field& field, const Value& value) {
    if (value.is_map() && value.mark.line == 0) return apply_elements(field, value);
    if (!value.is_list())
      return problems_.collect(value.mark, [&] {
        value.fail(value.shown() + " is not a list of blocks; allowed: [] or [{...}, {...}]");
      });
    origins_.erase(value.path);
    origins_.set(value.path, value.mark);
    const auto elements = field.resize(value.items.size());
    for (size_t i = 0; i < elements.size(); ++i) apply_block(*elements[i], value.items[i]);
  }

  /// Keys of single elements, from the command line.
  void apply_elements(const Field& field, const Value& value) {
    const auto elements = field.elements();
    for (const auto& [key, element] : value.map) {
      const auto index = parse_index(key);
      if (index && *index < elements.size()) {
        apply_block(*elements[*index], element);
      } else {
        problems_.collect(element.mark, [&] {
          element.fail(fmt::format("`{}` is not an element; the list has {}{}", key,
                                   elements.size(), elements.empty() ? "" : ", numbered from 0"));
        });
      }
    }
  }

  void apply_named(const Field& field, const Value& value) {
    if (!value.is_map())
      return problems_.collect(value.mark, [&] {
        value.fail(value.shown() + " is not a map from names to blocks; allowed: {name: {...}}");
      });
    std::vector<std::string> names;
    for (const auto& entry : value.map) names.push_back(entry.first);
    const auto elements = field.extend(names);
    for (const auto& [name, block] : value.map) {
      const auto element = std::find_if(elements.begin(), elements.end(),
                                        [&](const auto& e) { return e.first == name; });
      apply_block(*element->second, block);
    }
  }

  void check_owner(const Fields& fields, const std::string& key, const Value& value,
                   bool type_is_known, const std::vector<std::string>& fixed) {
    const Field* field = fields.find(key);
    if (!field || (field->owner_key == "type" && !type_is_known)) return;
    if (std::find(fixed.begin(), fixed.end(), key) != fixed.end())
      return problems_.collect(value.key_mark, [&] {
        value.fail_key(fmt::format("is fixed by the type at {}; write `type: {}` to choose it",
                                   origins_.text(parent(value.path) + ".type"),
                                   fields.word("type")));
      });
    if (fields.is_owned(*field)) return;
    // The choice that owns the key may itself belong to another type: name that one.
    for (const Field* choice = fields.find(field->owner_key); choice && !fields.is_owned(*choice);
         choice = fields.find(field->owner_key))
      field = choice;
    const std::string choice = join_path(parent(value.path), field->owner_key);
    problems_.collect(value.key_mark, [&] {
      value.fail_key(fmt::format("belongs to {} {}; here {} is {} ({})", field->owner_key,
                                 join(field->owners, ", "), field->owner_key,
                                 fields.word(field->owner_key), origins_.text(choice)));
    });
  }

  static std::string parent(const std::string& path) {
    const auto dot = path.rfind('.');
    return dot == std::string::npos ? "" : path.substr(0, dot);
  }

  static std::string block_hint(const Fields& fields) {
    std::vector<std::string> keys;
    for (const auto& field : fields.all()) keys.push_back(field->key);
    return fields.find("type") ? "; write {type: ...}" : "; its keys: " + join(keys);
  }

  Fields& root_;
  Origins& origins_;
  Problems problems_;
};

struct KnownKey {
  std::string block, key;  ///< "moe.router", "type"
  std::vector<std::string> other_names;
  std::string path() const { return join_path(block, key); }
};

/// Every key of the config; elements of lists appear as "moe.balance[]".
void collect_keys(const Fields& fields, const std::string& path, std::vector<KnownKey>& keys) {
  for (const auto& field : fields.all()) {
    keys.push_back({path, field->key, field->other_names});
    const std::string below = join_path(path, field->key);
    if (field->block) collect_keys(*field->block, below, keys);
    if (field->prototype)
      collect_keys(*field->prototype(), below + (field->resize ? "[]" : ".NAME"), keys);
  }
}

std::string quoted_list(const std::vector<std::string>& paths) {
  std::vector<std::string> some;
  for (const auto& path : paths)
    if (some.size() < kMostSuggestions && std::find(some.begin(), some.end(), path) == some.end())
      some.push_back("`" + path + "`");
  return join(some, " or ");
}

/// "moe.balance.0" → "moe.balance[]", the form of collect_keys().
std::string generic_path(const std::string& path) {
  std::string result;
  size_t start = 0;
  while (start <= path.size()) {
    const size_t dot = std::min(path.find('.', start), path.size());
    const std::string part = path.substr(start, dot - start);
    result = parse_index(part) ? result + "[]" : join_path(result, part);
    start = dot + 1;
  }
  return result;
}

}  // namespace

std::string key_suggestion(const Fields& root, const Fields& block, const std::string& path,
                           const std::string& key) {
  std::vector<KnownKey> keys;
  collect_keys(root, "", keys);
  const std::string here = generic_path(path);
  std::vector<std::string> own, elsewhere, foreign_here, foreign, all_names;
  for (const auto& field : block.all()) own.push_back(field->key);
  for (const KnownKey& known : keys) {
    if (known.path() == key && known.path() != known.key)
      return "; write it nested, or on the command line as " + key + "=...";
    if (known.key == key) elsewhere.push_back(known.path());
    all_names.push_back(known.key);
    for (const auto& name : known.other_names)
      if (edit_distance(name, key) == 0)
        (known.block == here ? foreign_here : foreign).push_back(known.path());
  }
  if (!foreign_here.empty()) return "; did you mean " + quoted_list(foreign_here) + "?";
  const std::string near = nearest(key, own);
  const bool very_near = !near.empty() && edit_distance(near, key) <= 1;
  if (!elsewhere.empty() && !very_near)
    return "; it belongs elsewhere: " + quoted_list(elsewhere) +
           (foreign.empty() ? "" : "; or did you mean " + quoted_list(foreign) + "?");
  if (very_near) return "; did you mean `" + join_path(path, near) + "`?";
  if (!foreign.empty()) return "; did you mean " + quoted_list(foreign) + "?";
  if (!near.empty()) return "; did you mean `" + join_path(path, near) + "`?";
  const std::string far = nearest(key, all_names);
  if (!far.empty()) {
    std::vector<std::string> paths;
    for (const KnownKey& known : keys)
      if (known.key == far) paths.push_back(known.path());
    return "; did you mean " + quoted_list(paths) + "?";
  }
  return fmt::format("; keys {}: {}", path.empty() ? "at the top" : "of " + path, join(own));
}

void apply_layer(Fields& root, const Value& layer, Origins& origins) {
  Applier applier(root, origins);
  applier.apply_block(root, layer);
  applier.problems().throw_first();
}

void with_marks(const Origins& origins, const std::function<void()>& check) {
  try {
    check();
  } catch (const ConfigError& error) {
    const std::string text = error.without_area();
    const char* const kPathCharacters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.~";
    size_t start = 0;
    while ((start = text.find_first_of(kPathCharacters, start)) != std::string::npos) {
      const size_t end = std::min(text.find_first_not_of(kPathCharacters, start), text.size());
      if (const Mark* mark = origins.find(text.substr(start, end - start)))
        throw ConfigError(mark->text() + ": " + text);
      start = end;
    }
    throw;
  }
}

}  // namespace switchyard
