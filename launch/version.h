#pragma once

#include <string>

namespace switchyard {

/// Version, git hash, LibTorch, MPI, NCCL and CUDA of this build, one line each.
std::string version_text();

}  // namespace switchyard
