#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace switchyard {

/// Where a value was written: "file.yaml:3:9", or "command line: key.path=value".
struct Mark {
  std::string source;
  int line = 0;    ///< from 1; 0 when the source has no lines
  int column = 0;  ///< from 1
  std::string text() const;
};

/// One node of a config: a scalar, a list or a map in the order written, with its place and key path.
/// Plain data: knows nothing of yaml-cpp.
struct Value {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;   ///< text as written, without quotes
  bool quoted = false;  ///< a quoted scalar is text, never a number, flag or word
  std::vector<Value> items;                          ///< kList
  std::vector<std::pair<std::string, Value>> map;    ///< kMap, keys unique
  Mark mark;            ///< place of the value
  std::string path;     ///< key path, "moe.router.type"

  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_map() const { return kind == Kind::kMap; }

  // Strict reads; each throws ConfigError naming mark, path, the value and what is allowed.
  bool as_flag() const;
  int64_t as_integer() const;
  double as_number() const;
  std::string as_text() const;
  /// Throws ConfigError "MARK: PATH: <problem>" for this value.
  [[noreturn]] void fail(const std::string& problem) const;
  const Value* find(const std::string& key) const;

  static Value of_flag(bool value);
  static Value of_integer(int64_t value);
  /// The shortest text that reads back to the same double.
  static Value of_number(double value);
  static Value of_text(const std::string& value);
  static Value list(std::vector<Value> items);
  static Value of_map(std::vector<std::pair<std::string, Value>> map);
};

}  // namespace switchyard
