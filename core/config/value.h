#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace switchyard {

/// Where a value was written: "file.yaml:3:9", or "command line: key.path=value".
struct Mark {
  std::string source;
  int line = 0;    ///< from 1; 0 when the source has no lines (the command line)
  int column = 0;  ///< from 1
  /// "file.yaml:3:9", the source alone without a line, "" without a source.
  std::string text() const;
};

/// One node of a config: a scalar, a list or a map in the order written, with its place and key
/// path. Plain data: knows nothing of yaml-cpp.
struct Value {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;                              ///< text as written, without quotes
  bool quoted = false;                             ///< a quoted scalar is never a number or a flag
  bool flow = false;                               ///< a list or map that is written on one line
  std::vector<Value> items;                        ///< kList
  std::vector<std::pair<std::string, Value>> map;  ///< kMap, keys unique
  Mark mark;                                       ///< place of the value
  Mark key_mark;                                   ///< place of the key that holds it, or of itself
  std::string path;                                ///< key path, "moe.router.type"

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_map() const { return kind == Kind::kMap; }

  // Strict reads; each throws ConfigError naming mark, path, the value and what is allowed.
  /// `true` or `false`, nothing else.
  bool as_flag() const;
  /// Decimal, with 1_000, 1e6 and 2.5e3 where the value is integral; refuses 010, 0x10, "5"
  /// and 1.5.
  int64_t as_integer() const;
  /// Finite, in fp32 too; the same spellings.
  double as_number() const;
  /// Any scalar, as written.
  std::string as_text() const;
  /// Throws ConfigError "MARK: PATH: <problem>" for this value.
  [[noreturn]] void fail(const std::string& problem) const;
  /// The same at the place of the key.
  [[noreturn]] void fail_key(const std::string& problem) const;
  /// The value on one line, shortened: what an error quotes.
  std::string shown() const;
  /// nullptr unless this is a map with that key.
  const Value* find(const std::string& key) const;

  static Value of_flag(bool value);
  static Value of_integer(int64_t value);
  /// The shortest text that reads back to the same double.
  static Value of_number(double value);
  /// Quoted where another YAML reader would take the plain text for something else.
  static Value of_text(const std::string& value);
  /// A word such as `none`: never quoted.
  static Value of_word(const std::string& value);
  static Value list(std::vector<Value> items);
  static Value of_map(std::vector<std::pair<std::string, Value>> map);
};

/// Sets `path` of every node below `value`, which itself is at `path`.
void assign_paths(Value& value, const std::string& path);

/// "a.b" + "c" = "a.b.c"; "" + "c" = "c".
std::string join_path(const std::string& path, const std::string& key);

/// Where each value of a resolved config was set. Keys that nobody set are defaults.
class Origins {
 public:
  void set(const std::string& path, const Mark& mark) { marks_[path] = mark; }
  /// Forgets `path` and everything below it.
  void erase(const std::string& path);
  /// nullptr for a default.
  const Mark* find(const std::string& path) const;
  /// "file.yaml:3:9" or "default".
  std::string text(const std::string& path) const;
  bool empty() const { return marks_.empty(); }

 private:
  std::map<std::string, Mark> marks_;
};

}  // namespace switchyard
