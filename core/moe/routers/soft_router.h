#pragma once

#include <memory>

#include "core/moe/routers/router.h"

namespace switchyard {

/// The mixture of Jacobs 1991: every token goes to all experts, by falling softmax score, which is
/// the weight.
std::unique_ptr<Router> make_soft_router(int64_t num_experts);

}  // namespace switchyard
