#pragma once

#include <functional>

#include "core/base/communicator.h"

namespace switchyard {

/// Runs `body` on n threads of this process, each with its own rank of one group, and returns when
/// all have ended. The world of the unit tests, and of `comm: thread`; CPU tensors.
///
/// A rank that throws ends the others: what they wait for, or start afterwards, throws CommError.
/// So does a wait that nobody can end any more (a rank returned early, or all wait for each other),
/// and two ranks that call different collectives. The error of the lowest rank that failed by
/// itself is thrown again here.
///
/// Collectives never block when they start: the last rank to arrive does the work of all, summing
/// in rank order. Each rank computes with this process's intra-op threads divided by n, at least
/// one.
void run_ranks(int n, const std::function<void(Communicator&)>& body);

}  // namespace switchyard
