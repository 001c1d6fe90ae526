#pragma once

#include <string>
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

}  // namespace switchyard
