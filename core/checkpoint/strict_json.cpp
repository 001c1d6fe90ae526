#include "core/checkpoint/strict_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "core/base/error.h"

namespace switchyard {
namespace {

using nlohmann::json;

std::string ascii(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace);
}

/// The parser's message without its library prefix, on one line and not too long.
std::string short_reason(const std::string& message) {
  const auto bracket = message.find("] ");
  std::string text = bracket == std::string::npos ? message : message.substr(bracket + 2);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return text.substr(0, 200);
}

/// Watches the parser: refuses what it would take or would take memory for.
class Watch {
 public:
  Watch(const std::string& where, const JsonLimits& limits) : where_(where), limits_(limits) {}

  void see(int depth, json::parse_event_t event, const json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth >= limits_.depth)
          fail(fmt::format("JSON nested more than {} levels deep", limits_.depth));
        count_entry();
        open_.push_back({event == json::parse_event_t::array_start, 0, {}});
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        open_.pop_back();
        break;
      case json::parse_event_t::key:
        see_key(depth, parsed.get_ref<const std::string&>());
        break;
      case json::parse_event_t::value:
        count_entry();
        break;
    }
  }

  /// Lets the outermost object have any number of keys.
  void free_members() { free_members_ = true; }

 private:
  struct Open {
    bool list;
    size_t entries;
    std::unordered_set<std::string> keys;
  };

  [[noreturn]] void fail(const std::string& problem) const {
    throw CheckpointError(fmt::format("{}: {}", where_, problem));
  }

  void count_entry() {
    if (!open_.empty() && open_.back().list && ++open_.back().entries > limits_.list)
      fail(fmt::format("a list of more than {} entries", limits_.list));
  }

  void see_key(int depth, const std::string& key) {
    std::unordered_set<std::string>& keys = open_.back().keys;
    if (!keys.insert(key).second) fail(fmt::format("the key {} appears twice", shown_name(key)));
    if (keys.size() > limits_.keys && !(depth == 1 && free_members_))
      fail(fmt::format("an object of more than {} keys", limits_.keys));
  }

  const std::string& where_;
  const JsonLimits& limits_;
  bool free_members_ = false;
  std::vector<Open> open_;
};

json parse(std::string_view text, const std::string& where, const json::parser_callback_t& see) {
  // The parser takes a NUL for the end of its input and would ignore what follows.
  if (text.find('\0') != std::string_view::npos)
    throw CheckpointError(where + ": not valid JSON: it contains a NUL byte");
  try {
    return json::parse(text.begin(), text.end(), see);
  } catch (const json::exception& e) {
    throw CheckpointError(fmt::format("{}: not valid JSON: {}", where, short_reason(e.what())));
  }
}

}  // namespace

json parse_strict_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  Watch watch(where, limits);
  return parse(text, where, [&](int depth, json::parse_event_t event, json& parsed) {
    watch.see(depth, event, parsed);
    return true;
  });
}

void read_strict_members(
    std::string_view text, const std::string& where, const JsonLimits& limits,
    const std::function<void(const std::string& key, const json& value)>& use) {
  using Event = json::parse_event_t;
  Watch watch(where, limits);
  watch.free_members();
  std::string member;
  parse(text, where, [&](int depth, Event event, json& parsed) {
    watch.see(depth, event, parsed);
    if (depth != 1 || event == Event::object_start || event == Event::array_start) return true;
    if (event == Event::key) {
      member = parsed.get_ref<const std::string&>();
      return true;
    }
    use(member, parsed);
    return false;
  });
}

std::string shown_name(std::string_view name) {
  constexpr size_t kShown = 120;
  return ascii(name.substr(0, kShown)) + (name.size() > kShown ? "..." : "");
}

std::string shown_text(std::string_view text) {
  constexpr size_t kShown = 200;
  const std::string quoted = ascii(text.substr(0, kShown));
  return quoted.substr(1, quoted.size() - 2) + (text.size() > kShown ? "..." : "");
}

std::string shown_names(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::vector<std::string> first;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) first.push_back(shown_name(names[i]));
  const std::string more =
      names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "";
  return fmt::format("{}{}", fmt::join(first, ", "), more);
}

std::string shown_json(const json& value) {
  const std::string text = ascii(value);
  return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

}  // namespace switchyard
