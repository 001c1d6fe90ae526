#include "core/config/yaml.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "core/config/nearest.h"

namespace switchyard {
namespace {

/// Words that YAML 1.1 or 1.2 readers turn into null or a flag, in any case.
bool is_reserved_word(std::string word) {
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static const char* const kWords[] = {"~",  "null", "true", "false", "yes",
                                       "no", "on",   "off",  "y",     "n"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](const char* w) { return word == w; });
}

bool looks_like_number(const std::string& text) {
  const size_t start = text[0] == '-' || text[0] == '+' ? 1 : 0;
  if (start == text.size()) return false;
  if (text[start] != '.') return std::isdigit(static_cast<unsigned char>(text[start])) != 0;
  return start + 1 < text.size() && std::strchr("0123456789iInN", text[start + 1]) != nullptr;
}

std::string double_quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      result += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
    } else {
      result += c;
    }
  }
  return result + "\"";
}

std::string scalar_text(const Value& value) {
  if (value.is_null()) return "null";
  return value.quoted ? double_quoted(value.scalar) : value.scalar;
}

std::string key_text(const std::string& key) {
  return needs_quotes(key) ? double_quoted(key) : key;
}

bool on_one_line(const Value& value) {
  if (value.is_map()) return value.flow || value.map.empty();
  if (!value.is_list()) return true;
  return value.flow || std::none_of(value.items.begin(), value.items.end(), [](const Value& item) {
           return item.is_map() || item.is_list();
         });
}

class Writer {
 public:
  explicit Writer(const std::function<std::string(const Value&)>& comment) : comment_(comment) {}

  void write_map(const Value& map, int indent, bool first_in_item) {
    for (const auto& [key, child] : map.map) {
      if (!first_in_item) text_ += std::string(indent, ' ');
      first_in_item = false;
      write_entry(key_text(key) + ":", child, indent);
    }
  }

  void write_items(const Value& list, int indent) {
    for (const Value& item : list.items) {
      text_ += std::string(indent, ' ') + "- ";
      if (item.is_map() && !on_one_line(item)) {
        write_map(item, indent + 2, true);
      } else {
        write_line(to_flow_yaml(item), item);
      }
    }
  }

  std::string text() { return std::move(text_); }

 private:
  void write_entry(const std::string& head, const Value& child, int indent) {
    if (on_one_line(child)) return write_line(head + " " + to_flow_yaml(child), child);
    text_ += head + "\n";
    if (child.is_map()) {
      write_map(child, indent + 2, false);
    } else {
      write_items(child, indent + 2);
    }
  }

  void write_line(const std::string& line, const Value& value) {
    const std::string comment = comment_ ? one_line(comment_(value)) : "";
    text_ += line;
    if (!comment.empty()) {
      // Comments line up where the values are short.
      const size_t start = text_.rfind('\n') == std::string::npos ? 0 : text_.rfind('\n') + 1;
      const size_t width = text_.size() - start;
      text_ += std::string(width < 40 ? 40 - width : 2, ' ') + "# " + comment;
    }
    text_ += "\n";
  }

  const std::function<std::string(const Value&)>& comment_;
  std::string text_;
};

}  // namespace

bool needs_quotes(const std::string& text) {
  if (text.empty() || is_reserved_word(text) || looks_like_number(text)) return true;
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return true;
  if (std::strchr("-?:,[]{}#&*!|>'\"%@`=<", text.front())) return true;
  if (text.find(": ") != std::string::npos || text.find(" #") != std::string::npos) return true;
  return std::any_of(text.begin(), text.end(), [](unsigned char c) {
    return c < 0x20 || c == 0x7F || std::strchr(",[]{}\\\"", c) != nullptr;
  });
}

std::string to_flow_yaml(const Value& value) {
  std::string text;
  if (value.is_list()) {
    for (const Value& item : value.items) text += (text.empty() ? "" : ", ") + to_flow_yaml(item);
    return "[" + text + "]";
  }
  if (value.is_map()) {
    for (const auto& [key, child] : value.map)
      text += (text.empty() ? "" : ", ") + key_text(key) + ": " + to_flow_yaml(child);
    return "{" + text + "}";
  }
  return scalar_text(value);
}

std::string to_yaml(const Value& value, const std::function<std::string(const Value&)>& comment) {
  Writer writer(comment);
  if (value.is_map()) {
    writer.write_map(value, 0, false);
  } else {
    writer.write_items(value, 0);
  }
  return writer.text();
}

}  // namespace switchyard
