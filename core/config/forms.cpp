#include "core/config/forms.h"

#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/config/layers.h"
#include "core/config/nearest.h"
#include "core/config/yaml.h"

namespace switchyard {
namespace {

/// The fields below a key: a block's own, or those of a default element.
std::shared_ptr<Fields> below(const Field& field) {
  if (field.block) return field.block;
  return field.prototype ? field.prototype() : nullptr;
}

std::string below_path(const Field& field, const std::string& path) {
  if (field.resize) return path + "[]";
  return field.extend ? path + ".NAME" : path;
}

std::string default_text(const Field& field) {
  if (field.block) return "";
  if (field.extend) return "{}";
  if (field.elements) {
    std::vector<Value> items;
    for (const auto& element : field.elements()) items.push_back(element->present());
    return to_flow_yaml(Value::list(std::move(items)));
  }
  std::string text = to_flow_yaml(field.get());
  if (text.empty() || text == "\"\"") text = "(empty)";
  for (const auto& [type, value] : field.type_defaults)
    text += fmt::format(", for {} {}", type, to_flow_yaml(value));
  return text;
}

std::string explain_key(const Field& field, const std::string& path) {
  std::string text = fmt::format("{}: {}", path, field.type_text());
  if (!field.block) text += fmt::format("  (default: {})", default_text(field));
  text += fmt::format("\n  {}\n", field.help);
  if (!field.owners.empty())
    text += fmt::format("  only with {}: {}\n", field.owner_key, join(field.owners));
  if (!field.other_names.empty())
    text += fmt::format("  known elsewhere as: {}\n", join(field.other_names));
  return text;
}

std::string explain_below(const Fields& fields, const std::string& path) {
  std::string text;
  for (const auto& field : fields.all()) {
    const std::string key = join_path(path, field->key);
    text += explain_key(*field, key);
    if (const auto inner = below(*field)) text += explain_below(*inner, below_path(*field, key));
  }
  for (const auto& alias : fields.aliases()) {
    std::string fixed;
    for (const auto& [key, value] : alias.fixed)
      fixed += fmt::format(", {}: {}", key, to_flow_yaml(value));
    text +=
        fmt::format("{}: {} means {}{}\n", join_path(path, "type"), alias.word, alias.type, fixed);
  }
  return text;
}

/// The parts of a path, without list and map positions.
std::vector<std::string> key_parts(std::string path) {
  for (size_t at; (at = path.find("[]")) != std::string::npos;) path.erase(at, 2);
  std::vector<std::string> parts;
  size_t start = 0;
  while (start <= path.size()) {
    const size_t dot = std::min(path.find('.', start), path.size());
    const std::string part = path.substr(start, dot - start);
    if (!part.empty() && part.find_first_not_of("0123456789") != std::string::npos &&
        part != "NAME")
      parts.push_back(part);
    start = dot + 1;
  }
  return parts;
}

std::string type_note(const Field& field) {
  return field.owners.empty()
             ? ""
             : fmt::format(" Only with {} {}.", field.owner_key, join(field.owners));
}

/// A "|" would end the cell.
std::string table_cell(const std::string& text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string code_cell(const std::string& text) {
  return text.empty() ? "" : fmt::format("`{}`", table_cell(text));
}

void add_tables(const Fields& fields, const std::string& path, std::string& text) {
  text += fmt::format("\n## {}\n\n| key | allowed | default | meaning |\n|---|---|---|---|\n",
                      path.empty() ? "Top level" : fmt::format("`{}`", path));
  for (const auto& field : fields.all()) {
    text +=
        fmt::format("| `{}` | {} | {} | {} |\n", field->key, table_cell(field->type_text()),
                    code_cell(default_text(*field)), table_cell(field->help + type_note(*field)));
  }
  for (const auto& alias : fields.aliases()) {
    std::string fixed;
    for (const auto& [key, value] : alias.fixed)
      fixed += fmt::format(", `{}: {}`", key, to_flow_yaml(value));
    text += fmt::format("\n`type: {}` means `type: {}`{}.\n", alias.word, alias.type, fixed);
  }
  for (const auto& field : fields.all())
    if (const auto inner = below(*field))
      add_tables(*inner, below_path(*field, join_path(path, field->key)), text);
}

using Json = nlohmann::ordered_json;

Json block_schema(const Fields& fields);

Json with_bounds(const Field& field, const char* type) {
  Json schema = {{"type", type}};
  if (field.lowest > -1e300)
    schema[field.lowest_open ? "exclusiveMinimum" : "minimum"] = field.lowest;
  if (field.highest < 1e300)
    schema[field.highest_open ? "exclusiveMaximum" : "maximum"] = field.highest;
  return schema;
}

Json or_word(const Field& field, Json schema) {
  if (field.choices.empty()) return schema;
  return {{"anyOf", Json::array({std::move(schema), Json{{"const", field.choices[0]}}})}};
}

Json list_schema(const Field& field, Json items) {
  Json schema = {{"type", "array"}, {"items", std::move(items)}};
  if (field.exact_length) schema["minItems"] = schema["maxItems"] = *field.exact_length;
  return schema;
}

Json value_schema(const Fields& fields, const Field& field) {
  switch (field.kind) {
    case Field::Kind::kFlag:
      return or_word(field, {{"type", "boolean"}});
    case Field::Kind::kInteger:
      return or_word(field, with_bounds(field, "integer"));
    case Field::Kind::kNumber:
      return or_word(field, with_bounds(field, "number"));
    case Field::Kind::kStepNumber: {
      const Json number = with_bounds(field, "number");
      const Json by_step = {{"type", "object"},
                            {"patternProperties", {{"^[0-9]", number}}},
                            {"required", Json::array({"0"})},
                            {"additionalProperties", false}};
      return {{"anyOf", Json::array({number, by_step})}};
    }
    case Field::Kind::kText:
      return {{"type", Json::array({"string", "number", "boolean"})}};
    case Field::Kind::kChoice: {
      Json words = field.choices;
      if (field.key == "type")
        for (const auto& alias : fields.aliases()) words.push_back(alias.word);
      return {{"enum", words}};
    }
    case Field::Kind::kNumbers:
      return list_schema(field, with_bounds(field, "number"));
    case Field::Kind::kTexts:
      return list_schema(field, {{"type", "string"}});
    case Field::Kind::kBlock:
      return block_schema(*field.block);
    case Field::Kind::kBlockList:
      return {{"type", "array"}, {"items", block_schema(*field.prototype())}};
    case Field::Kind::kNamedBlocks:
      return {{"type", "object"}, {"additionalProperties", block_schema(*field.prototype())}};
    case Field::Kind::kCustom:
      return field.schema.empty() ? Json::object() : Json::parse(field.schema);
  }
  return Json::object();
}

/// The default as JSON: numbers and flags are not quoted.
Json default_json(const Field& field, const Value& value) {
  if (value.is_list() || value.is_map()) {
    Json all = value.is_list() ? Json::array() : Json::object();
    for (const Value& item : value.items) all.push_back(default_json(field, item));
    for (const auto& [key, child] : value.map) all[key] = default_json(field, child);
    return all;
  }
  if (value.quoted || field.kind == Field::Kind::kText || field.kind == Field::Kind::kChoice)
    return value.scalar;
  const Json parsed = Json::parse(value.scalar, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? Json(value.scalar) : parsed;
}

Json block_schema(const Fields& fields) {
  Json properties = Json::object();
  for (const auto& field : fields.all()) {
    Json schema = value_schema(fields, *field);
    std::string help = field->help;
    if (!field->owners.empty()) {
      help += " Only with " + field->owner_key + ":";
      for (const auto& owner : field->owners) help += " " + owner;
    }
    schema["description"] = help;
    if (field->get) schema["default"] = default_json(*field, field->get());
    properties[field->key] = std::move(schema);
  }
  return {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

}  // namespace

std::string resolved_yaml(const Fields& root, const Origins& origins) {
  return to_yaml(root.present(), [&](const Value& value) { return origins.text(value.path); });
}

std::string explain(const Fields& root, const std::string& path) {
  if (path.empty()) return explain_below(root, "");
  const Fields* fields = &root;
  std::vector<std::shared_ptr<Fields>> held;  // `field` points into the last but one
  std::string so_far;
  const Field* field = nullptr;
  bool in_named_block = false;
  for (const std::string& part : key_parts(path)) {
    if (in_named_block && !fields->find(part)) {
      in_named_block = false;
      continue;
    }
    if (field) so_far = below_path(*field, so_far);
    const Field* next = fields ? fields->find(part) : nullptr;
    if (!next && fields)
      throw ConfigError(
          fmt::format("{}: unknown key{}", path, key_suggestion(root, *fields, so_far, part)));
    if (!next) throw ConfigError(fmt::format("{}: {} has no keys below it", path, so_far));
    field = next;
    so_far = join_path(so_far, part);
    held.push_back(below(*field));
    fields = held.back().get();
    in_named_block = static_cast<bool>(field->extend);
  }
  if (!field) throw ConfigError(fmt::format("{}: is not a key path", path));
  std::string text = explain_key(*field, so_far);
  if (fields) text += explain_below(*fields, below_path(*field, so_far));
  return text;
}

std::string key_tables(const Fields& root) {
  std::string text;
  add_tables(root, "", text);
  return text;
}

std::string json_schema(const Fields& root) {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "Switchyard config"}};
  schema.update(block_schema(root));
  schema["properties"]["base"] = {
      {"description", "Files that this one builds on, relative to it, or switchyard/moe/NAME."},
      {"anyOf", Json::array({Json{{"type", "string"}},
                             Json{{"type", "array"}, {"items", {{"type", "string"}}}}})}};
  return schema.dump(2) + "\n";
}

std::string diff(const Value& a, const Value& b) {
  const auto shown = [](const Value& value) { return to_flow_yaml(value); };
  if (a.is_map() && b.is_map() && !a.flow) {
    std::string text;
    for (const auto& [key, value] : a.map) {
      const Value* other = b.find(key);
      text +=
          other ? diff(value, *other) : fmt::format("{}: {} → (none)\n", value.path, shown(value));
    }
    for (const auto& [key, value] : b.map)
      if (!a.find(key)) text += fmt::format("{}: (none) → {}\n", value.path, shown(value));
    return text;
  }
  if (a.is_list() && b.is_list() && !a.flow && a.items.size() == b.items.size()) {
    std::string text;
    for (size_t i = 0; i < a.items.size(); ++i) text += diff(a.items[i], b.items[i]);
    return text;
  }
  return shown(a) == shown(b) ? "" : fmt::format("{}: {} → {}\n", a.path, shown(a), shown(b));
}

}  // namespace switchyard
