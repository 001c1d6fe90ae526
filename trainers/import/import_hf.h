#pragma once

#include <string>

#include "core/checkpoint/file_ops.h"
#include "core/checkpoint/state.h"
#include "trainers/import/hf_config.h"

namespace switchyard {

/// A model read from elsewhere: what the config says, and weights and router biases in fp32 under
/// our global names.
struct ImportedModel {
  HfModel model;
  StateList state;
};

/// Reads a Hugging Face folder (config.json with model.safetensors or shards). Strict: an unknown
/// or missing tensor, a wrong shape or dtype throws CheckpointError naming it, before any tensor is
/// read; so does, afterwards, the copy of a tied head where it differs. Left out are rotary
/// frequencies, multi-token prediction layers, and that copy. Throws what read_hf_config() does,
/// too. Local.
ImportedModel load_hf(FileOps& files, const std::string& folder);

/// `ckpt import --format hf FOLDER OUT`: writes the new folder OUT like that of a run, with
/// config.yaml and the weights as checkpoint of step 0: `eval`, `ckpt` and run.init_from take it,
/// and `train OUT` trains on from it. Returns what it did, for the user. Throws what load_hf()
/// does, ConfigError where OUT exists or cannot be made, and IoError where writing fails; leaves no
/// OUT behind on an error. Local.
std::string import_hf(FileOps& files, const std::string& folder, const std::string& out);

}  // namespace switchyard
