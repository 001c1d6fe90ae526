#pragma once

#include <string>
#include <vector>

#include "core/checkpoint/file_ops.h"
#include "core/config/value.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// What the config.json of a Hugging Face folder says.
struct HfModel {
  std::string type;          ///< model_type: "mixtral"
  TrainConfig config;        ///< its model and moe blocks are filled in, the others are defaults
  Origins origins;           ///< of what was filled in: "config.json: rms_norm_eps"
  int64_t extra_layers = 0;  ///< multi-token prediction layers after the decoder's: left out
  std::vector<std::string> notes;  ///< keys that were passed over, for the user
};

/// Reads FOLDER/config.json, with the keys of transformers 4 or 5, of one of the model types
/// llama, mixtral, olmoe, qwen2_moe, qwen3_moe, deepseek_v2 and deepseek_v3. Keys that are absent
/// have the values that transformers gives them, or are asked for. Local. Throws CheckpointError
/// for a file that is missing, cannot be read or is no JSON, and ConfigError naming key and value
/// for what is missing, malformed, far larger than any model, or not computed here (RoPE scaling,
/// quantization, sliding windows...).
HfModel read_hf_config(FileOps& files, const std::string& folder);

}  // namespace switchyard
