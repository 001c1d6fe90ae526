#include "trainers/import/hf_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/checkpoint/strict_json.h"

namespace switchyard {

using nlohmann::json;

HfKeys::HfKeys(const json& object, std::string where, std::string prefix)
    : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

void HfKeys::fail(const std::string& key, const std::string& problem) const {
  throw ConfigError(fmt::format("{}: {}{}: {}", where_, prefix_, key, problem));
}

const json* HfKeys::find(const std::string& key) const {
  read_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

const json& HfKeys::get(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr) fail(key, "is missing");
  return *value;
}

bool HfKeys::is_there(const std::string& key) const {
  return find(key) != nullptr;
}

bool HfKeys::has(const std::string& key) const {
  return is_there(key) && !get(key).is_null();
}

int64_t HfKeys::integer(const std::string& key, HfRange range) const {
  const json& value = get(key);
  if (!value.is_number_integer() || value < range.lowest || value > range.highest)
    fail(key, fmt::format("{} is not an integer from {} to {}", shown_json(value), range.lowest,
                          range.highest));
  return value.get<int64_t>();
}

double HfKeys::positive(const std::string& key) const {
  const json& value = get(key);
  if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>()))
    fail(key, shown_json(value) + " is not a number above 0");
  if (value.get<double>() > kMaxNumber)
    fail(key,
         fmt::format("{} is beyond {}, the largest number of fp32", shown_json(value), kMaxNumber));
  return value.get<double>();
}

double HfKeys::not_negative(const std::string& key) const {
  const json& value = get(key);
  if (value.is_number() && value.get<double>() == 0) return 0;
  return positive(key);
}

bool HfKeys::flag(const std::string& key) const {
  if (!get(key).is_boolean()) fail(key, shown_json(get(key)) + " is neither true nor false");
  return get(key).get<bool>();
}

std::string HfKeys::text(const std::string& key) const {
  if (!get(key).is_string()) fail(key, shown_json(get(key)) + " is not text");
  return get(key).get<std::string>();
}

int64_t HfKeys::integer_or(const std::string& key, int64_t otherwise, HfRange range) const {
  return is_there(key) ? integer(key, range) : otherwise;
}

double HfKeys::positive_or(const std::string& key, double otherwise) const {
  return is_there(key) ? positive(key) : otherwise;
}

bool HfKeys::flag_or(const std::string& key, bool otherwise) const {
  return is_there(key) ? flag(key) : otherwise;
}

std::string HfKeys::text_or(const std::string& key, const std::string& otherwise) const {
  return is_there(key) ? text(key) : otherwise;
}

std::vector<int64_t> HfKeys::integers(const std::string& key) const {
  std::vector<int64_t> list;
  if (!has(key)) return list;
  if (!get(key).is_array()) fail(key, shown_json(get(key)) + " is not a list");
  for (const json& item : get(key)) {
    if (!item.is_number_integer()) fail(key, shown_json(item) + " is not an integer");
    list.push_back(item.get<int64_t>());
  }
  return list;
}

std::vector<std::string> HfKeys::texts(const std::string& key) const {
  std::vector<std::string> list;
  if (!has(key)) return list;
  if (!get(key).is_array()) fail(key, shown_json(get(key)) + " is not a list");
  for (const json& item : get(key)) {
    if (!item.is_string()) fail(key, shown_json(item) + " is not text");
    list.push_back(item.get<std::string>());
  }
  return list;
}

HfKeys HfKeys::object(const std::string& key) const {
  if (!get(key).is_object()) fail(key, shown_json(get(key)) + " is not an object");
  return {get(key), where_, prefix_ + key + "."};
}

std::string HfKeys::name_of(const std::vector<std::string>& keys) const {
  std::string name;
  for (const auto& key : keys) {
    if (!is_there(key)) continue;
    if (name.empty())
      name = key;
    else if (get(key) != get(name))
      fail(key, fmt::format("{} contradicts {}{}: {}", shown_json(get(key)), prefix_, name,
                            shown_json(get(name))));
  }
  return name.empty() ? keys.front() : name;
}

void HfKeys::only(const std::string& key, const std::vector<json>& allowed) const {
  if (!has(key) || std::find(allowed.begin(), allowed.end(), get(key)) != allowed.end()) return;
  std::string words = "none";
  for (const json& one : allowed) words += ", " + shown_json(one);
  fail(key, fmt::format("{} is not supported; allowed: {}", shown_json(get(key)), words));
}

void HfKeys::ignore(const std::vector<std::string>& keys) const {
  read_.insert(keys.begin(), keys.end());
}

std::vector<std::string> HfKeys::unread() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items())
    if (!read_.contains(key)) keys.push_back(key);
  return keys;
}

}  // namespace switchyard
