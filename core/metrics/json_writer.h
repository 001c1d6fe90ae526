#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

/// The shortest text that reads back to the same bits; null for NaN and infinities.
std::string json_number(double value);
/// Quoted and escaped.
std::string json_text(const std::string& value);

/// Writes one JSON object, keys in the order added, on one line.
class JsonObject {
 public:
  JsonObject& add(const std::string& key, double value);
  JsonObject& add(const std::string& key, int64_t value);
  JsonObject& add(const std::string& key, const std::string& value);
  JsonObject& add(const std::string& key, const char* value);
  JsonObject& add(const std::string& key, const std::optional<double>& value);  ///< unset = null
  JsonObject& add(const std::string& key, const std::vector<double>& values);
  JsonObject& add(const std::string& key, const std::vector<std::vector<int64_t>>& values);
  JsonObject& add(const std::string& key,
                  const std::vector<std::vector<std::vector<double>>>& values);
  JsonObject& add(const std::string& key, const JsonObject& value);
  JsonObject& add_flag(const std::string& key, bool value);

  std::string text() const;

 private:
  JsonObject& add_raw(const std::string& key, const std::string& text);
  std::string body_;
};

}  // namespace switchyard
