#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// What every communicator must do, whatever its backend and size.
struct ConformanceCase {
  std::string name;
  /// Collective. Tensors live on `device`; throws on the first difference.
  void (*run)(Communicator& comm, c10::Device device);
};

const std::vector<ConformanceCase>& conformance_cases();

/// Collective. Runs all cases and returns one line per failed case, "name: why", of any rank.
std::vector<std::string> run_conformance(Communicator& comm, c10::Device device);

}  // namespace switchyard
