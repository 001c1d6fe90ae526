#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace switchyard::test {

/// The bytes of a headerless token file.
template <class Token>
std::string raw_tokens(const std::vector<int64_t>& tokens) {
  std::string bytes;
  for (const int64_t value : tokens) {
    const auto token = static_cast<Token>(value);
    bytes.append(reinterpret_cast<const char*>(&token), sizeof(token));
  }
  return bytes;
}

/// llm.c's header of 256 int32.
inline std::string llmc_header(int32_t magic, int32_t version, int32_t count) {
  std::vector<int32_t> header(256, 0);
  header[0] = magic, header[1] = version, header[2] = count;
  return {reinterpret_cast<const char*>(header.data()), 1024};
}

}  // namespace switchyard::test
