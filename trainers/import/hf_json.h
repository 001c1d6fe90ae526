#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace switchyard {

/// The keys of a config.json, or of an object inside it, read strictly. Every problem is one
/// ConfigError "FOLDER/config.json: key: VALUE ...". A key whose value is null counts as absent.
class HfKeys {
 public:
  /// `prefix` stands before the key names in errors: "rope_parameters.".
  HfKeys(const nlohmann::json& object, std::string where, std::string prefix = "");

  bool has(const std::string& key) const;
  /// Integers of at least `lowest`.
  int64_t integer(const std::string& key, int64_t lowest = 1) const;
  int64_t integer_or(const std::string& key, int64_t otherwise, int64_t lowest = 1) const;
  /// The first of these names that is there, for keys that were renamed.
  int64_t first_integer(const std::vector<std::string>& keys) const;
  double positive_or(const std::string& key, double otherwise) const;
  bool flag_or(const std::string& key, bool otherwise) const;
  std::string text_or(const std::string& key, const std::string& otherwise) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  HfKeys object(const std::string& key) const;

  /// The key must be absent or have one of these values: nothing else can be computed here.
  void only(const std::string& key, const std::vector<nlohmann::json>& allowed) const;
  /// Keys that change nothing that is computed.
  void ignore(const std::vector<std::string>& keys) const;
  /// Keys that nobody asked for, in order.
  std::vector<std::string> unread() const;

  [[noreturn]] void fail(const std::string& key, const std::string& problem) const;

 private:
  const nlohmann::json* find(const std::string& key) const;
  const nlohmann::json& get(const std::string& key) const;

  const nlohmann::json& object_;
  std::string where_, prefix_;
  mutable std::set<std::string> read_;
};

}  // namespace switchyard
