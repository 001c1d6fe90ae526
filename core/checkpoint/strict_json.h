#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

/// What is read at most. Reading stops where a limit is passed, whatever follows.
struct JsonLimits {
  JsonLimits(int max_depth, size_t max_list = SIZE_MAX, size_t max_keys = SIZE_MAX)
      : depth(max_depth), list(max_list), keys(max_keys) {}
  int depth;    ///< nested objects and lists
  size_t list;  ///< entries of one list
  size_t keys;  ///< keys of one object
};

/// Reads one JSON document strictly: valid UTF-8, no duplicate keys, no comments, nothing after it,
/// nothing beyond the limits. Throws CheckpointError "<where>: <problem>".
nlohmann::json parse_strict_json(std::string_view text, const std::string& where,
                                 const JsonLimits& limits);

/// The same for a document that begins with `{`: hands each of its keys with the value to `use`, in
/// the order written, and keeps neither. That object itself may have any number of keys.
void read_strict_members(
    std::string_view text, const std::string& where, const JsonLimits& limits,
    const std::function<void(const std::string& key, const nlohmann::json& value)>& use);

// What a file holds, for a message: on one line, printable ASCII, not too long, whatever it is.

/// In quotes, cut after 120 bytes.
std::string shown_name(std::string_view name);

/// Without quotes, cut after 200 bytes.
std::string shown_text(std::string_view text);

/// The first five of these names, and how many more there are.
std::string shown_names(const std::vector<std::string>& names);

/// As JSON, cut after 80 characters.
std::string shown_json(const nlohmann::json& value);

}  // namespace switchyard
