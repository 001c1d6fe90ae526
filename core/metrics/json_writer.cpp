#include "core/metrics/json_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

namespace switchyard {

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  const auto result = std::to_chars(text, text + sizeof(text), value);
  return {text, result.ptr};
}

namespace {

/// Items between brackets, each as `write` gives it.
template <class Values, class Write>
std::string json_list(const Values& values, const Write& write) {
  std::string text;
  for (const auto& value : values) {
    if (!text.empty()) text += ',';
    text += write(value);
  }
  return fmt::format("[{}]", text);
}

}  // namespace

std::string json_text(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      text += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      text += c;
    }
  }
  return text + '"';
}

std::string JsonObject::text() const {
  return fmt::format("{{{}}}", body_);
}

JsonObject& JsonObject::add_raw(const std::string& key, const std::string& text) {
  if (!body_.empty()) body_ += ',';
  body_ += json_text(key) + ':' + text;
  return *this;
}

JsonObject& JsonObject::add(const std::string& key, double value) {
  return add_raw(key, json_number(value));
}

JsonObject& JsonObject::add(const std::string& key, int64_t value) {
  return add_raw(key, std::to_string(value));
}

JsonObject& JsonObject::add(const std::string& key, const std::string& value) {
  return add_raw(key, json_text(value));
}

JsonObject& JsonObject::add(const std::string& key, const char* value) {
  return add_raw(key, json_text(value));
}

JsonObject& JsonObject::add(const std::string& key, const std::optional<double>& value) {
  return add_raw(key, value ? json_number(*value) : "null");
}

JsonObject& JsonObject::add(const std::string& key, const std::vector<double>& values) {
  return add_raw(key, json_list(values, json_number));
}

JsonObject& JsonObject::add(const std::string& key,
                            const std::vector<std::vector<int64_t>>& values) {
  return add_raw(key, json_list(values, [](const auto& row) {
                   return fmt::format("[{}]", fmt::join(row, ","));
                 }));
}

JsonObject& JsonObject::add(const std::string& key,
                            const std::vector<std::vector<std::vector<double>>>& values) {
  const auto row = [](const auto& numbers) { return json_list(numbers, json_number); };
  const auto table = [&](const auto& rows) { return json_list(rows, row); };
  return add_raw(key, json_list(values, table));
}

JsonObject& JsonObject::add(const std::string& key, const JsonObject& value) {
  return add_raw(key, value.text());
}

JsonObject& JsonObject::add_flag(const std::string& key, bool value) {
  return add_raw(key, value ? "true" : "false");
}

}  // namespace switchyard
