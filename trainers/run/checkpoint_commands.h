#pragma once

#include <string>

#include "core/checkpoint/file_ops.h"

namespace switchyard {

/// `ckpt ls PATH`: one line for each checkpoint of a run, a folder of checkpoints, or a checkpoint:
/// step, size, tensors, ranks, state hash, and what is wrong with those whose manifest cannot be
/// used. Reads manifests and file sizes, not the data. Throws CheckpointError when there is none.
std::string checkpoint_list_text(FileOps& files, const std::string& path);

/// `ckpt verify PATH`: reads every byte of the same checkpoints; one line each. Throws
/// CheckpointError with all that is damaged if any is.
std::string checkpoint_verify_text(FileOps& files, const std::string& path);

}  // namespace switchyard
