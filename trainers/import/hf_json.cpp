#include "trainers/import/hf_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"

namespace switchyard {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

}  // namespace

HfKeys::HfKeys(const json& object, std::string where, std::string prefix)
    : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

void HfKeys::fail(const std::string& key, const std::string& problem) const {
  throw ConfigError(fmt::format("{}: {}{}: {}", where_, prefix_, key, problem));
}

const json* HfKeys::find(const std::string& key) const {
  read_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const json& HfKeys::get(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr) fail(key, "is missing");
  return *value;
}

bool HfKeys::has(const std::string& key) const {
  return find(key) != nullptr;
}

int64_t HfKeys::integer(const std::string& key, int64_t lowest) const {
  constexpr int64_t kHighest = int64_t{1} << 40;
  const json& value = get(key);
  if (!value.is_number_integer() || value < lowest || value > kHighest)
    fail(key, fmt::format("{} is not an integer from {} to 2^40", shown(value), lowest));
  return value.get<int64_t>();
}

int64_t HfKeys::integer_or(const std::string& key, int64_t otherwise, int64_t lowest) const {
  return has(key) ? integer(key, lowest) : otherwise;
}

int64_t HfKeys::first_integer(const std::vector<std::string>& keys) const {
  for (const auto& key : keys)
    if (has(key)) return integer(key);
  fail(keys.front(), "is missing");
}

double HfKeys::positive_or(const std::string& key, double otherwise) const {
  if (!has(key)) return otherwise;
  const json& value = get(key);
  if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>()))
    fail(key, shown(value) + " is not a number above 0");
  return value.get<double>();
}

bool HfKeys::flag_or(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!get(key).is_boolean()) fail(key, shown(get(key)) + " is neither true nor false");
  return get(key).get<bool>();
}

std::string HfKeys::text_or(const std::string& key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  if (!get(key).is_string()) fail(key, shown(get(key)) + " is not text");
  return get(key).get<std::string>();
}

std::vector<int64_t> HfKeys::integers(const std::string& key) const {
  std::vector<int64_t> list;
  if (!has(key)) return list;
  if (!get(key).is_array()) fail(key, shown(get(key)) + " is not a list");
  for (const json& item : get(key)) {
    if (!item.is_number_integer()) fail(key, shown(item) + " is not an integer");
    list.push_back(item.get<int64_t>());
  }
  return list;
}

std::vector<std::string> HfKeys::texts(const std::string& key) const {
  std::vector<std::string> list;
  if (!has(key)) return list;
  if (!get(key).is_array()) fail(key, shown(get(key)) + " is not a list");
  for (const json& item : get(key)) {
    if (!item.is_string()) fail(key, shown(item) + " is not text");
    list.push_back(item.get<std::string>());
  }
  return list;
}

HfKeys HfKeys::object(const std::string& key) const {
  if (!get(key).is_object()) fail(key, shown(get(key)) + " is not an object");
  return {get(key), where_, prefix_ + key + "."};
}

void HfKeys::only(const std::string& key, const std::vector<json>& allowed) const {
  const json* value = find(key);
  if (value == nullptr || std::find(allowed.begin(), allowed.end(), *value) != allowed.end())
    return;
  std::string words = "none";
  for (const json& one : allowed) words += ", " + shown(one);
  fail(key, fmt::format("{} is not supported; allowed: {}", shown(*value), words));
}

void HfKeys::ignore(const std::vector<std::string>& keys) const {
  read_.insert(keys.begin(), keys.end());
}

std::vector<std::string> HfKeys::unread() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items())
    if (!read_.contains(key)) keys.push_back(prefix_ + key);
  return keys;
}

}  // namespace switchyard
