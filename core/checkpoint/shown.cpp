#include "core/checkpoint/shown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

using nlohmann::json;

std::string ascii(const json& value) {
  return value.dump(-1, ' ', true, json::error_handler_t::replace);
}

}  // namespace

std::string shown_name(std::string_view name) {
  constexpr size_t kShown = 120;
  return ascii(name.substr(0, kShown)) + (name.size() > kShown ? "..." : "");
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
