#pragma once

namespace switchyard {

/// Rounds to the largest number of fp32, in which models compute.
constexpr double kMaxNumber = 3.4028235e38;

}  // namespace switchyard
