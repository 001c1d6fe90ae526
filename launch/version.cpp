#include "launch/version.h"

#include <fmt/format.h>

#include "parallel/comm/factory.h"

namespace switchyard {

extern const char* const kGitHash;  // made by launch/cmake/git_hash.cmake

std::string version_text() {
  std::string text = fmt::format("switchyard {} ({})\nLibTorch   {}\n", SWITCHYARD_VERSION,
                                 kGitHash, SWITCHYARD_LIBTORCH_VERSION);
  for (const auto& [name, version] : comm_versions())
    text += fmt::format("{:<10} {}\n", name, version);
  text.pop_back();
  return text;
}

}  // namespace switchyard
