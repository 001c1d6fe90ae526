#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace switchyard {

/// How tokens lie in a file.
enum class TokenFormat {
  kBytes,  ///< each byte is a token
  kRaw16,  ///< headerless, 16-bit little-endian (nanoGPT)
  kRaw32,
  kLlmc,  ///< llm.c: 256 int32 (magic, version, count), then 16-bit (20240520) or 32-bit (20240801)
};

/// A file of tokens, mapped into memory and read-only. Copies share the mapping. Thread-safe.
class TokenFile {
 public:
  /// Throws DataError naming the path for a file that is missing, unreadable, empty, truncated or
  /// of a size that the format cannot have.
  TokenFile(const std::string& path, TokenFormat format);

  /// Whether the file starts with one of llm.c's magic numbers.
  static bool has_llmc_header(const std::string& path);

  const std::string& path() const { return path_; }
  int64_t size() const { return count_; }  ///< tokens
  int width() const { return width_; }     ///< bytes of a token
  int64_t at(int64_t index) const;
  void copy(int64_t first, int64_t count, int64_t* out) const;

  int64_t max_token() const;  ///< reads the whole file
  /// Throws DataError naming path, place and token unless every token is below `vocab_size`.
  void check_vocabulary(int64_t vocab_size) const;
  /// XXH3-128 of the tokens, as hexadecimal digits. Reads the whole file.
  std::string content_hash() const;

 private:
  void map();
  void read_llmc_header();

  std::string path_;
  std::shared_ptr<const unsigned char> map_;
  const unsigned char* tokens_ = nullptr;
  int64_t bytes_ = 0;
  int64_t count_ = 0;
  int width_ = 1;
};

}  // namespace switchyard
