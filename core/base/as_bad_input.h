#pragma once

#include <string>

#include "core/base/error.h"

namespace switchyard {

/// Runs `work` before anything is computed or written: a file or folder that cannot be looked at,
/// opened, read or made is then bad input, thrown as `BadInput`, not a failure of ours. `where`
/// stands before its text: "run.dir: ".
template <class BadInput, class Work>
auto as_bad_input(const Work& work, const std::string& where = "") {
  try {
    return work();
  } catch (const IoError& error) {
    throw BadInput(where + error.without_area());
  }
}

}  // namespace switchyard
