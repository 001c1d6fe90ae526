#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace switchyard {

/// Reads one JSON document strictly: valid UTF-8, no duplicate keys, no comments, nothing after it,
/// at most `max_depth` nested objects and lists. Throws CheckpointError "<where>: <problem>".
nlohmann::json parse_strict_json(std::string_view text, const std::string& where, int max_depth);

}  // namespace switchyard
