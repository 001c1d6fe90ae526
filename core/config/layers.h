#pragma once

#include <functional>
#include <string>

#include "core/config/fields.h"
#include "core/config/value.h"

namespace switchyard {

/// Applies one layer on top of what `root` is bound to and records where each value came from. Maps
/// are merged, lists replaced; a map from the command line with numbers as keys changes elements of
/// a list. Setting `type` resets its block first. Throws ConfigError for the first problem in file
/// order: an unknown key (with the nearest valid one, or where it belongs, also for other programs'
/// names), a value of a wrong type or out of range, a key of a type that is not selected.
void apply_layer(Fields& root, const Value& layer, Origins& origins);

/// Runs `check`; a ConfigError that it throws gets the mark of the first key path which it names
/// and which was set somewhere: "file.yaml:4:10: moe.top_k: 4 is above moe.num_experts: 2".
void with_marks(const Origins& origins, const std::function<void()>& check);

/// "; did you mean `model.hidden_dim`?" for an unknown key `key` of the block at `path` ("" = the
/// top), or the list of that block's keys.
std::string key_suggestion(const Fields& root, const Fields& block, const std::string& path,
                           const std::string& key);

}  // namespace switchyard
