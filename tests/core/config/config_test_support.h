#pragma once

#include <string>

#include "core/base/error.h"

namespace switchyard::config_test {

/// The text of the ConfigError that `action` throws; "" where it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace switchyard::config_test
