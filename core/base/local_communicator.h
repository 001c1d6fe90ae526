#pragma once

#include <memory>

#include "core/base/communicator.h"

namespace switchyard {

/// The group of one process: every collective is a copy or nothing.
std::unique_ptr<Communicator> make_local_communicator();

}  // namespace switchyard
