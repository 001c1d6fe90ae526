#pragma once

#include <string>

// Where the tree and the program are. Only one file is compiled with them, so that another clone of
// the tree takes every other object from the compiler cache.
namespace switchyard::test {

/// "/configs" → that folder of the source tree.
std::string source_path(const std::string& inside = "");
/// The program under test.
std::string binary_path();

}  // namespace switchyard::test
