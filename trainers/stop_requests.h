#pragma once

#include <atomic>

namespace switchyard {

/// What the user asked of a running job, set from signal handlers.
struct StopRequests {
  std::atomic<bool> save{false};
  std::atomic<bool> stop{false};
};

}  // namespace switchyard
