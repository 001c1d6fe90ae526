#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>

#include "tests/support/paths.h"

namespace switchyard::test {

std::string source_path(const std::string& inside) {
  return SWITCHYARD_SOURCE_DIR + inside;
}

std::string binary_path() {
  return SWITCHYARD_BINARY;
}

}  // namespace switchyard::test
