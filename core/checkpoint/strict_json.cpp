#include "core/checkpoint/strict_json.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "core/base/error.h"

namespace switchyard {
namespace {

/// The parser's message without its library prefix, on one line and not too long.
std::string short_reason(const std::string& message) {
  const auto bracket = message.find("] ");
  std::string text = bracket == std::string::npos ? message : message.substr(bracket + 2);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return text.substr(0, 200);
}

}  // namespace

nlohmann::json parse_strict_json(std::string_view text, const std::string& where, int max_depth) {
  using nlohmann::json;
  // The parser takes a NUL for the end of its input and would ignore what follows.
  if (text.find('\0') != std::string_view::npos)
    throw CheckpointError(where + ": not valid JSON: it contains a NUL byte");
  std::vector<std::unordered_set<std::string>> keys;  // of the open objects
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
        keys.emplace_back();
        [[fallthrough]];
      case json::parse_event_t::array_start:
        if (depth >= max_depth)
          throw CheckpointError(
              fmt::format("{}: JSON nested more than {} levels deep", where, max_depth));
        break;
      case json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        if (!keys.back().insert(key).second)
          throw CheckpointError(fmt::format(
              "{}: the key {} appears twice", where,
              json(key.substr(0, 100)).dump(-1, ' ', true, json::error_handler_t::replace)));
        break;
      }
      default:
        break;
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::exception& e) {
    throw CheckpointError(fmt::format("{}: not valid JSON: {}", where, short_reason(e.what())));
  }
}

}  // namespace switchyard
