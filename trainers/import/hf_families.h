#pragma once

#include "trainers/import/hf_config.h"
#include "trainers/import/hf_json.h"

namespace switchyard {

/// Fills `model` in from the keys of a config.json, whose model_type says of which family it is.
/// What our config would not use is left at its default: experts where no layer has any, the width
/// of dense layers where there are none. Throws ConfigError.
void read_hf_family(const HfKeys& keys, HfModel& model);

}  // namespace switchyard
