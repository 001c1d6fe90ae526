#pragma once

#include <c10/core/Device.h>

#include <string>

#include "launch/process.h"

namespace switchyard {

/// The device of this rank for `run.device` (auto | cpu | cuda): one GPU per rank of the host, by
/// local rank. Throws ConfigError when there are too few, or none and cuda is asked for.
c10::Device choose_device(const std::string& wanted, const ProcessPlace& place);

}  // namespace switchyard
