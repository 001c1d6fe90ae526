#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// Collective. Runs `body`, which calls no collective, on each rank; then throws on every rank the
/// error of the lowest rank on which it failed, as Error with that rank's exit code.
void run_together(Communicator& comm, const std::function<void()>& body);

/// Collective. The same, with `body` on rank 0 alone.
void run_on_first(Communicator& comm, const std::function<void()>& body);

/// Collective. Every rank's text, by rank, on every rank.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& text);

}  // namespace switchyard
