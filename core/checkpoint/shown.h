#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// What a file holds, for a message: on one line, printable ASCII, not too long, whatever it is.

/// In quotes, cut after 120 bytes.
std::string shown_name(std::string_view name);

/// The first five of these names, and how many more there are.
std::string shown_names(const std::vector<std::string>& names);

/// As JSON, cut after 80 characters.
std::string shown_json(const nlohmann::json& value);

}  // namespace switchyard
