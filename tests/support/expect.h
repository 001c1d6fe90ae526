#pragma once

#include <fmt/format.h>

#include <stdexcept>

/// A check inside a rank's thread, where Catch2's own are not safe: throws, and the error travels
/// out of run_ranks to the test. Further arguments are an fmt format and its values.
#define EXPECT(condition, ...)                                                       \
  do {                                                                               \
    if (!(condition))                                                                \
      throw std::runtime_error(                                                      \
          fmt::format("{}:{}: {} does not hold. ", __FILE__, __LINE__, #condition) + \
          ::fmt::format("" __VA_ARGS__));                                            \
  } while (false)
