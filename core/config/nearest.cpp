#include "core/config/nearest.h"

#include <algorithm>
#include <cctype>

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

}  // namespace switchyard
