#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment). Case, '_' and '-' do not count: numExperts equals num_experts.
size_t edit_distance(const std::string& a, const std::string& b);

/// The candidate a user most likely meant, or "" where none is near. Near: a distance of at most a
/// third of the length, else one word that starts with (3 letters or more) or contains (4) the
/// other.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// "; did you mean `x`?" or "; allowed: a, b, c".
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

/// "a, b, c"; `separator` between.
std::string join(const std::vector<std::string>& words, const std::string& separator = ", ");

/// Bytes of the UTF-8 character at the start of `text`, which is not empty; 0 where there is none:
/// overlong, a surrogate, above U+10FFFF.
size_t utf8_length(std::string_view text);

/// `message` as one line that shows what stands in it, whoever chose the names: control characters,
/// line separators and marks that turn the direction of text become \n or \u001b as in JSON, bytes
/// that are no UTF-8 \xff.
std::string one_line(std::string_view message);

}  // namespace switchyard
