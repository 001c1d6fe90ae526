#pragma once

#include <string>

namespace switchyard {

/// A file that grows by whole records. Every failure throws IoError with the path and the reason.
class AppendFile {
 public:
  /// Opens for appending; makes the file when it does not exist.
  explicit AppendFile(const std::string& path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Hands the whole record to the system before it returns.
  void append(const std::string& record);

 private:
  std::string path_;
  int file_;
};

/// Replaces the content of `path` in one step: a reader sees the old or the new content, never a
/// part.
void write_atomically(const std::string& path, const std::string& content);

/// The whole content; throws IoError.
std::string read_file(const std::string& path);

}  // namespace switchyard
