#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// Top-2 with a random second expert (Lepikhin 2021, algorithm 1): weights g/(g₁+g₂); in training
/// the second is selected iff 2·g₂ > U, with U from stream 4. A refused second takes no slot and is
/// not counted; the first keeps its g₁. Beside other experts (weights_of) a pair is normalised over
/// itself; a token whose second was refused keeps the sum g₁ + g₂ of its best two.
std::unique_ptr<Router> make_gshard_router(int64_t num_experts, bool multiplicative_bias);

}  // namespace switchyard
