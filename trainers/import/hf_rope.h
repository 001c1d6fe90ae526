#pragma once

#include "core/nn/rope.h"
#include "trainers/import/hf_json.h"

namespace switchyard {

/// What `rope` says, which is rope_scaling of transformers 4 or rope_parameters of 5 in config.json
/// `keys`, as its modeling_rope_utils reads it. Throws ConfigError that names the key.
RopeScaling read_rope_scaling(const HfKeys& keys, const HfKeys& rope, int64_t max_seq_len);

}  // namespace switchyard
