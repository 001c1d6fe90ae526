#pragma once

#include <c10/core/Device.h>

namespace switchyard {

/// Makes `device` the current one and, where it is a GPU, sets LibTorch's own switches for this
/// process so that the same work gives the same bits: ordered sums in attention and scatters, and
/// no product of less than the precision asked for. Nothing on a CPU, which needs none of it.
void prepare_device(c10::Device device);

}  // namespace switchyard
