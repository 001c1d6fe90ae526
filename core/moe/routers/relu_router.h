#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// ReMoE (Wang 2024, equation 5): scores ReLU(logits), a token goes to every expert whose score is
/// positive, with the score as weight; it may have none.
std::unique_ptr<Router> make_relu_router(int64_t num_experts);

}  // namespace switchyard
