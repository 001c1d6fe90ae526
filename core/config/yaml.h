#pragma once

#include <functional>
#include <string>

#include "core/config/value.h"

namespace switchyard {

/// Reads one YAML document strictly: no duplicate keys, `<<`, second document, tags, aliases that
/// contain themselves, invalid UTF-8 or control characters, more than 64 levels or 100,000 nodes
/// (aliases counted as often as they are used). Throws ConfigError with `source_name:line:column`.
/// A document without content is a null value.
Value parse_yaml(const std::string& text, const std::string& source_name);

/// The same for a file. A missing, unreadable or empty one, or what is no file, throws ConfigError.
Value read_yaml_file(const std::string& path);

/// The value of a command-line override, `[1, 2]` or `{every: 2}` or `1e-2`: every node carries
/// `mark`.
Value parse_inline_yaml(const std::string& text, const Mark& mark, const std::string& path);

/// True where `text` must be quoted in YAML to stay this text for every reader: "", "1.5", "yes",
/// "a: b".
bool needs_quotes(const std::string& text);

/// One line of flow YAML: [1, 2], {sequences: 4}, "quoted text".
std::string to_flow_yaml(const Value& value);

/// Block YAML, one key a line; what has `flow` set, lists of scalars and empty lists stay on one
/// line. `comment` gives the text after " # " for a line with a value, "" for none; it cannot end
/// that line.
std::string to_yaml(const Value& value,
                    const std::function<std::string(const Value&)>& comment = {});

}  // namespace switchyard
