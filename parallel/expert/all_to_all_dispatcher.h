#pragma once

#include <memory>

#include "core/base/communicator.h"
#include "core/moe/token_dispatcher.h"
#include "parallel/mesh/expert_placement.h"

namespace switchyard {

/// Expert parallelism: every rank of `group` holds the experts that `placement` gives it, and
/// tokens travel to them by all-to-all (Lepikhin 2021, GShard). A token goes once to each rank that
/// holds any of its experts, with its combine weights; the ranks' partial sums come back and are
/// added in rank order (bfloat16 in float32, rounded once).
///
/// dispatch() exchanges the counts, starts the tokens' journey and returns; received() waits. All
/// ranks of the group call dispatch, received, combine and the backward pass alike, with or without
/// tokens. The plan is made on the host: on a GPU that is one wait for the device per dispatch.
///
/// `group` outlives the dispatcher and the graphs made with it. One dispatcher may serve many
/// layers. A group of one rank gets the local dispatcher.
std::unique_ptr<TokenDispatcher> make_all_to_all_dispatcher(Communicator& group,
                                                            ExpertPlacement placement);

}  // namespace switchyard
