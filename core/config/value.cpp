#include "core/config/value.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/config/yaml.h"

namespace switchyard {
namespace {

constexpr size_t kLongestShown = 60;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The digits without underscores; nullopt where an underscore is not between two digits.
std::optional<std::string> without_underscores(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return plain;
}

/// Why `text` is no decimal number, or "".
std::string problem_of_number(const std::string& text) {
  std::string digits = text;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.erase(0, 1);
  if (digits.empty()) return "is not a number";
  if (digits == ".nan" || digits == ".NaN" || digits == ".NAN" || digits == ".inf" ||
      digits == ".Inf" || digits == ".INF")
    return "is not finite";
  if (digits.size() > 1 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o'))
    return "is not decimal";
  if (!is_digit(digits[0]) && !(digits[0] == '.' && digits.size() > 1 && is_digit(digits[1])))
    return "is not a number";
  if (digits.size() > 1 && digits[0] == '0' && is_digit(digits[1]))
    return "has a leading zero, which other readers take for octal";
  return "";
}

/// A finite double from a text that passed problem_of_number(); nullopt where it does not end
/// there.
std::optional<double> parse_double(const std::string& text) {
  const char* begin = text.data() + (text[0] == '+' ? 1 : 0);
  const char* end = text.data() + text.size();
  double value = 0;
  const auto [rest, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || rest != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

std::string Mark::text() const {
  return line == 0 ? source : fmt::format("{}:{}:{}", source, line, column);
}

void Value::fail(const std::string& problem) const {
  const std::string place = mark.text();
  throw ConfigError(fmt::format("{}{}{}{}{}", place, place.empty() ? "" : ": ", path,
                                path.empty() ? "" : ": ", problem));
}

void Value::fail_key(const std::string& problem) const {
  Value at_key;
  at_key.mark = key_mark;
  at_key.path = path;
  at_key.fail(problem);
}

std::string Value::shown() const {
  if (is_null()) return "nothing";
  std::string text = is_scalar() && !quoted ? scalar : to_flow_yaml(*this);
  if (text.size() > kLongestShown) {
    size_t end = kLongestShown;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text = text.substr(0, end) + "...";
  }
  return "`" + text + "`";
}

const Value* Value::find(const std::string& key) const {
  for (const auto& [name, value] : map)
    if (name == key) return &value;
  return nullptr;
}

bool Value::as_flag() const {
  if (is_scalar() && !quoted && scalar == "true") return true;
  if (is_scalar() && !quoted && scalar == "false") return false;
  fail(shown() + " is not a flag; allowed: true, false");
}

int64_t Value::as_integer() const {
  const std::string allowed = "; allowed: an integer such as 4, 1_000 or 1e6";
  if (!is_scalar()) fail(shown() + " is not an integer" + allowed);
  if (quoted) fail(shown() + " is text; remove the quotes to make it an integer");
  const auto plain = without_underscores(scalar);
  if (!plain) fail(shown() + " is not an integer" + allowed);
  if (const std::string problem = problem_of_number(*plain); !problem.empty())
    fail(shown() + " " + (problem == "is not a number" ? "is not an integer" : problem) + allowed);
  const char* begin = plain->data() + ((*plain)[0] == '+' ? 1 : 0);
  const char* end = plain->data() + plain->size();
  int64_t integer = 0;
  const auto [rest, error] = std::from_chars(begin, end, integer);
  if (rest == end && error == std::errc()) return integer;
  if (rest == end) fail(shown() + " does not fit into 64 bits");
  const auto number = parse_double(*plain);
  if (!number || *number != std::floor(*number)) fail(shown() + " is not an integer" + allowed);
  // Above 2^53 a double no longer names one integer.
  if (std::abs(*number) > 9007199254740992.0)
    fail(shown() + " is above 2^53; write it without exponent or point");
  return static_cast<int64_t>(*number);
}

double Value::as_number() const {
  const std::string allowed = "; allowed: a finite number such as 0.5, 3e-4 or 1_000";
  if (!is_scalar()) fail(shown() + " is not a number" + allowed);
  if (quoted) fail(shown() + " is text; remove the quotes to make it a number");
  const auto plain = without_underscores(scalar);
  if (!plain) fail(shown() + " is not a number" + allowed);
  if (const std::string problem = problem_of_number(*plain); !problem.empty())
    fail(shown() + " " + problem + allowed);
  const auto number = parse_double(*plain);
  if (!number) fail(shown() + " is not a number in the range of a double" + allowed);
  if (std::abs(*number) > kMaxNumber)
    fail(fmt::format("{} is beyond ±{}, the largest number of fp32", shown(), kMaxNumber));
  return *number;
}

std::string Value::as_text() const {
  if (!is_scalar()) fail(shown() + " is not text; allowed: one word or a quoted text");
  return scalar;
}

Value Value::of_word(const std::string& value) {
  Value result;
  result.kind = Kind::kScalar;
  result.scalar = value;
  return result;
}

Value Value::of_flag(bool value) {
  return of_word(value ? "true" : "false");
}

Value Value::of_integer(int64_t value) {
  return of_word(fmt::format("{}", value));
}

Value Value::of_number(double value) {
  char buffer[40];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  SWITCHYARD_CHECK(error == std::errc());
  std::string text(buffer, end);
  // YAML 1.1 readers take 1e-05 for text and 1.0e-05 for a number.
  const auto exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos)
    text.insert(exponent, ".0");
  return of_word(text);
}

Value Value::of_text(const std::string& value) {
  Value result = of_word(value);
  result.quoted = needs_quotes(value);
  return result;
}

Value Value::list(std::vector<Value> items) {
  Value result;
  result.kind = Kind::kList;
  result.items = std::move(items);
  return result;
}

Value Value::of_map(std::vector<std::pair<std::string, Value>> map) {
  Value result;
  result.kind = Kind::kMap;
  result.map = std::move(map);
  return result;
}

std::string join_path(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

void assign_paths(Value& value, const std::string& path) {
  value.path = path;
  for (size_t i = 0; i < value.items.size(); ++i)
    assign_paths(value.items[i], join_path(path, std::to_string(i)));
  for (auto& [key, child] : value.map) assign_paths(child, join_path(path, key));
}

void Origins::erase(const std::string& path) {
  marks_.erase(path);
  const std::string prefix = path + ".";
  auto it = marks_.lower_bound(prefix);
  while (it != marks_.end() && it->first.starts_with(prefix)) it = marks_.erase(it);
}

const Mark* Origins::find(const std::string& path) const {
  const auto it = marks_.find(path);
  return it == marks_.end() ? nullptr : &it->second;
}

std::string Origins::text(const std::string& path) const {
  const Mark* mark = find(path);
  return mark ? mark->text() : "default";
}

}  // namespace switchyard
