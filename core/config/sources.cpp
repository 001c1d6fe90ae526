#include "core/config/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/base/error.h"
#include "core/config/nearest.h"
#include "core/config/yaml.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

const std::string kShippedPrefix = "switchyard/";

std::vector<std::string> shipped_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error))
    if (entry.path().extension() == ".yaml")
      names.push_back(kShippedPrefix +
                      entry.path().lexically_relative(folder).replace_extension().generic_string());
  std::sort(names.begin(), names.end());
  return names;
}

/// The file that one entry of `base:` means.
std::string base_path(const Value& base, const std::string& from, const std::string& shipped_dir) {
  const std::string name = base.as_text();
  if (name.empty()) base.fail("names no file");
  if (name.starts_with(kShippedPrefix)) {
    fs::path path = fs::path(shipped_dir) / name.substr(kShippedPrefix.size());
    if (path.extension() != ".yaml") path += ".yaml";
    if (!fs::is_regular_file(path))
      base.fail("`" + name + "` is not a shipped config" +
                suggestion(name, shipped_names(shipped_dir)));
    return path.string();
  }
  const fs::path path = fs::path(from).parent_path() / name;
  if (!fs::is_regular_file(path))
    base.fail(fmt::format("no such file: {} (paths are relative to the file that names them)",
                          path.string()));
  return path.lexically_normal().string();
}

class Reader {
 public:
  explicit Reader(const std::string& shipped_dir) : shipped_dir_(shipped_dir) {}

  void read(const std::string& path, const Value* named_by) {
    const fs::path identity = fs::weakly_canonical(path);
    if (std::find(open_.begin(), open_.end(), identity) != open_.end())
      named_by->fail(fmt::format("{} includes itself through `base`", path));
    open_.push_back(identity);
    Value tree = read_yaml_file(path);
    if (!tree.is_map()) tree.fail(tree.shown() + " is not a map; a config is `key: value` lines");
    const auto base = std::find_if(tree.map.begin(), tree.map.end(),
                                   [](const auto& entry) { return entry.first == "base"; });
    if (base != tree.map.end()) {
      const Value bases = std::move(base->second);
      tree.map.erase(base);
      if (bases.is_null()) bases.fail_key("has no value; allowed: a file or a list of files");
      if (bases.is_map()) bases.fail("allowed: a file or a list of files");
      if (bases.is_list()) {
        for (const Value& item : bases.items) read(base_path(item, path, shipped_dir_), &item);
      } else {
        read(base_path(bases, path, shipped_dir_), &bases);
      }
    }
    layers_.push_back(std::move(tree));
    open_.pop_back();
  }

  std::vector<Value> take() { return std::move(layers_); }

 private:
  std::string shipped_dir_;
  std::vector<fs::path> open_;
  std::vector<Value> layers_;
};

/// Adds one override below `node`, part by part of its path.
void add_override(Value& node, const std::string& rest, Value value, const Mark& mark) {
  const size_t dot = rest.find('.');
  const std::string key = rest.substr(0, dot);
  const auto twice = [&] { value.fail("is given twice on the command line"); };
  if (key.empty()) value.fail("the key path has an empty part; write key.path=value");
  Value* child = nullptr;
  if (node.is_list()) {
    // An element of a list that another override gave.
    const bool is_index =
        key.find_first_not_of("0123456789") == std::string::npos && key.size() < 6;
    if (!is_index || std::stoul(key) >= node.items.size())
      value.fail(
          fmt::format("`{}` is not an element of the list given at {}", key, node.mark.text()));
    child = &node.items[std::stoul(key)];
  } else if (node.is_map()) {
    for (auto& [name, existing] : node.map)
      if (name == key) child = &existing;
    if (!child) {
      node.map.emplace_back(key, Value{});
      child = &node.map.back().second;
      if (dot == std::string::npos) {
        *child = std::move(value);
        return;
      }
      child->kind = Value::Kind::kMap;
      child->mark = child->key_mark = mark;
    } else if (dot == std::string::npos) {
      twice();
    }
  } else {
    twice();
  }
  if (dot == std::string::npos) twice();
  add_override(*child, rest.substr(dot + 1), std::move(value), mark);
}

}  // namespace

std::vector<Value> read_config_layers(const std::string& path, const std::string& shipped_dir) {
  Reader reader(shipped_dir);
  reader.read(path, nullptr);
  return reader.take();
}

Value parse_overrides(const std::vector<std::string>& overrides) {
  Value root = Value::of_map({});
  root.mark.source = root.key_mark.source = "command line";
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    const Mark mark{"command line: " + text, 0, 0};
    if (equals == std::string::npos || equals == 0)
      throw ConfigError(mark.text() + ": is not a key.path=value");
    const std::string path = text.substr(0, equals);
    if (path == "base" || path.starts_with("base."))
      throw ConfigError(mark.text() + ": `base` belongs into a config file");
    Value value = parse_inline_yaml(text.substr(equals + 1), mark, path);
    if (value.is_null()) value.fail("has no value; write key.path=value");
    add_override(root, path, std::move(value), mark);
  }
  assign_paths(root, "");
  return root;
}

}  // namespace switchyard
