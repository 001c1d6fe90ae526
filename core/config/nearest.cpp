#include "core/config/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

namespace switchyard {
namespace {

constexpr size_t kShortestPart = 4, kShortestStart = 3;

std::string letters(const std::string& word) {
  std::string result;
  for (const char c : word)
    if (c != '_' && c != '-')
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

bool contains(const std::string& whole, const std::string& part) {
  const size_t at = whole.find(part);
  return at != std::string::npos && part.size() >= (at == 0 ? kShortestStart : kShortestPart);
}

uint32_t code_point(std::string_view character) {
  const auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(character[i]));
  };
  if (character.size() == 1) return byte(0);
  uint32_t code = byte(0) & (0x7FU >> character.size());
  for (size_t i = 1; i < character.size(); ++i) code = code << 6U | (byte(i) & 0x3FU);
  return code;
}

// Controls, line and paragraph separators, marks and overrides of direction.
bool is_hidden(uint32_t code) {
  const auto within = [code](uint32_t first, uint32_t last) {
    return code >= first && code <= last;
  };
  return code < 0x20 || within(0x7F, 0x9F) || code == 0x061C || within(0x200E, 0x200F) ||
         within(0x2028, 0x202E) || within(0x2066, 0x2069);
}

std::string escaped(uint32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  if (code == '\t') return "\\t";
  return fmt::format("\\u{:04x}", code);
}

}  // namespace

size_t edit_distance(const std::string& a, const std::string& b) {
  return distance(letters(a), letters(b));
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string wanted = letters(word);
  std::string best;
  size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const std::string name = letters(candidate);
    const size_t d = distance(wanted, name);
    const size_t most = std::max<size_t>(1, std::max(wanted.size(), name.size()) / 3);
    if (d <= most && d < name.size() && (best.empty() || d < best_distance)) {
      best = candidate;
      best_distance = d;
    }
  }
  if (!best.empty()) return best;
  for (const std::string& candidate : candidates) {
    const std::string name = letters(candidate);
    if (!contains(name, wanted) && !contains(wanted, name)) continue;
    const size_t d = distance(wanted, name);
    if (best.empty() || d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = nearest(word, candidates);
  if (near.empty()) return "; allowed: " + join(candidates);
  return "; did you mean `" + near + "`? Allowed: " + join(candidates);
}

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto follows = [&](size_t n, uint8_t low, uint8_t high) {
    if (text.size() < n || byte(1) < low || byte(1) > high) return size_t{0};
    for (size_t i = 2; i < n; ++i)
      if ((byte(i) & 0xC0) != 0x80) return size_t{0};
    return n;
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(2, 0x80, 0xBF);
  if (first >= 0xE0 && first <= 0xEF)
    return follows(3, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
  if (first >= 0xF0 && first <= 0xF4)
    return follows(4, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
  return 0;
}

std::string one_line(std::string_view message) {
  std::string line;
  while (!message.empty()) {
    const size_t length = utf8_length(message);
    const std::string_view character = message.substr(0, std::max<size_t>(length, 1));
    message.remove_prefix(character.size());
    if (length == 0)
      line += fmt::format("\\x{:02x}", static_cast<uint8_t>(character[0]));
    else if (const uint32_t code = code_point(character); is_hidden(code))
      line += escaped(code);
    else
      line += character;
  }
  return line;
}

}  // namespace switchyard
