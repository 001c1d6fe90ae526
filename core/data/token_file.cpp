#include "core/data/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr int64_t kLlmcHeader = 256 * 4;
constexpr int32_t kMagic16 = 20240520, kMagic32 = 20240801;

bool is_llmc_magic(int32_t magic) {
  return magic == kMagic16 || magic == kMagic32;
}

template <class Token>
Token load(const unsigned char* tokens, int64_t index) {
  Token token;
  std::memcpy(&token, tokens + index * sizeof(Token), sizeof(Token));
  return token;
}

/// Calls `use` with a value of the tokens' type.
template <class Use>
auto with_width(int width, Use use) {
  if (width == 1) return use(uint8_t{});
  if (width == 2) return use(uint16_t{});
  return use(uint32_t{});
}

}  // namespace

TokenFile::TokenFile(const std::string& path, TokenFormat format) : path_(path) {
  map();
  if (format == TokenFormat::kLlmc) {
    read_llmc_header();
    return;
  }
  width_ = format == TokenFormat::kBytes ? 1 : format == TokenFormat::kRaw16 ? 2 : 4;
  if (bytes_ % width_ != 0) {
    throw DataError(
        fmt::format("{}: {} bytes are not a whole number of {}-byte tokens; the file is "
                    "truncated or data.dtype is another",
                    path_, bytes_, width_));
  }
  tokens_ = map_.get();
  count_ = bytes_ / width_;
}

void TokenFile::map() {
  const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw DataError(fmt::format("{}: {}", path_, std::strerror(errno)));
  struct stat status {};
  const bool known = ::fstat(file, &status) == 0;
  if (!known || !S_ISREG(status.st_mode) || status.st_size == 0) {
    ::close(file);
    throw DataError(fmt::format("{}: {}", path_,
                                !known                     ? "cannot be examined"
                                : !S_ISREG(status.st_mode) ? "is not a regular file"
                                                           : "the file is empty"));
  }
  bytes_ = status.st_size;
  void* address = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file, 0);
  const int reason = errno;
  ::close(file);
  if (address == MAP_FAILED) {
    throw DataError(fmt::format("{}: cannot be mapped: {}", path_, std::strerror(reason)));
  }
  map_ = {static_cast<const unsigned char*>(address),
          [address, bytes = bytes_](const unsigned char*) { ::munmap(address, bytes); }};
}

void TokenFile::read_llmc_header() {
  std::string problem;
  if (bytes_ < kLlmcHeader) {
    problem = fmt::format("{} bytes are less than llm.c's header of {}", bytes_, kLlmcHeader);
  } else {
    const auto magic = load<int32_t>(map_.get(), 0);
    const auto version = load<int32_t>(map_.get(), 1);
    count_ = load<int32_t>(map_.get(), 2);
    width_ = magic == kMagic32 ? 4 : 2;
    tokens_ = map_.get() + kLlmcHeader;
    const int64_t expected = kLlmcHeader + count_ * width_;
    if (!is_llmc_magic(magic)) {
      problem = fmt::format("magic number {} is not llm.c's {} or {}", magic, kMagic16, kMagic32);
    } else if (version != 1 && version != 7) {
      problem = fmt::format("llm.c header of version {}, known are 1 and 7", version);
    } else if (count_ < 1) {
      problem = fmt::format("the llm.c header announces {} tokens", count_);
    } else if (bytes_ != expected) {
      problem =
          fmt::format("the llm.c header announces {} tokens = {} bytes, the file has {}: it is {}",
                      count_, expected, bytes_, bytes_ < expected ? "truncated" : "too long");
    }
  }
  if (!problem.empty()) throw DataError(path_ + ": " + problem);
}

bool TokenFile::has_llmc_header(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  int32_t magic = 0;
  return file.read(reinterpret_cast<char*>(&magic), sizeof(magic)) && is_llmc_magic(magic);
}

int64_t TokenFile::at(int64_t index) const {
  return with_width(width_,
                    [&](auto zero) -> int64_t { return load<decltype(zero)>(tokens_, index); });
}

void TokenFile::copy(int64_t first, int64_t count, int64_t* out) const {
  SWITCHYARD_CHECK(first >= 0 && count >= 0 && first + count <= count_, "tokens {} + {} of {}",
                   first, count, count_);
  with_width(width_, [&](auto zero) {
    for (int64_t i = 0; i < count; ++i) out[i] = load<decltype(zero)>(tokens_, first + i);
  });
}

int64_t TokenFile::max_token() const {
  return with_width(width_, [&](auto zero) -> int64_t {
    auto highest = zero;
    for (int64_t i = 0; i < count_; ++i) {
      highest = std::max(highest, load<decltype(zero)>(tokens_, i));
    }
    return highest;
  });
}

void TokenFile::check_vocabulary(int64_t vocab_size) const {
  if (max_token() < vocab_size) return;
  int64_t index = 0;
  while (at(index) < vocab_size) ++index;
  throw DataError(fmt::format("{}: token {} at position {} is outside the vocabulary of {} tokens",
                              path_, at(index), index, vocab_size));
}

std::string TokenFile::content_hash() const {
  const auto hash = XXH3_128bits(tokens_, count_ * width_);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace switchyard
