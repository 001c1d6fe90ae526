#pragma once

#include <string>
#include <vector>

namespace switchyard {

/// One thing that `switchyard doctor` looked at. `fix` says what to do; empty when all is well.
struct Finding {
  std::string what, found, fix;
};

/// What only the caller knows.
struct DoctorFacts {
  int num_ranks = 1, local_ranks = 1, num_threads = 1;
  std::string run_folder = "runs";
};

/// Looks at cores, binding, memory, LibTorch, GPU and disk. Local.
std::vector<Finding> examine(const DoctorFacts& facts);

/// A table of the findings, each problem with its fix.
std::string to_text(const std::vector<Finding>& findings);

}  // namespace switchyard
