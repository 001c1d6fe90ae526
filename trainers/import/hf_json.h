#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace switchyard {

/// Bounds of an integer. The highest keeps the product of any two within 64 bits.
struct HfRange {
  int64_t lowest = 1;
  int64_t highest = int64_t{1} << 30;
};

/// The keys of a config.json, or of an object inside it, read strictly. Every problem is one
/// ConfigError "FOLDER/config.json: key: VALUE ...". A key that is there with the value null is not
/// absent: it is no number, flag or text, and its reader must know what it means.
class HfKeys {
 public:
  /// Keeps a reference to `object`. `prefix` stands before the key names in errors:
  /// "rope_parameters.".
  HfKeys(const nlohmann::json& object, std::string where, std::string prefix = "");

  /// Whether the key is there, be it null.
  bool is_there(const std::string& key) const;
  /// Whether the key is there with a value other than null.
  bool has(const std::string& key) const;

  int64_t integer(const std::string& key, HfRange range = {}) const;
  double positive(const std::string& key) const;
  double not_negative(const std::string& key) const;
  bool flag(const std::string& key) const;
  std::string text(const std::string& key) const;
  // Of keys that may be absent, but not null.
  int64_t integer_or(const std::string& key, int64_t otherwise, HfRange range = {}) const;
  double positive_or(const std::string& key, double otherwise) const;
  bool flag_or(const std::string& key, bool otherwise) const;
  std::string text_or(const std::string& key, const std::string& otherwise) const;
  // Lists; an absent one, or null, is empty.
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  HfKeys object(const std::string& key) const;

  /// The first of these names of one key that is there, the first of all if none is. Those that are
  /// there must have the same value.
  std::string name_of(const std::vector<std::string>& keys) const;
  /// The key must be absent, null or one of these values: nothing else can be computed here.
  void only(const std::string& key, const std::vector<nlohmann::json>& allowed) const;
  /// Keys that change nothing that is computed.
  void ignore(const std::vector<std::string>& keys) const;
  /// Keys that nobody asked for, in order, as the file has them.
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
