#pragma once

#include <string>

#include "core/base/error.h"

namespace switchyard {

/// Runs `work` before anything is written: a file or folder that cannot be looked at, opened, read
/// or made is then bad input, reported as `BadInput`, not a failure of ours.
template <class BadInput = CheckpointError, class Work>
auto as_bad_input(const Work& work) {
  try {
    return work();
  } catch (const IoError& error) {
    throw BadInput(std::string(error.what()).substr(std::string("[io] ").size()));
  }
}

}  // namespace switchyard
