#include "core/metrics/file_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/base/error.h"

namespace switchyard {
namespace {

[[noreturn]] void fail(const std::string& path, const char* action) {
  throw IoError(fmt::format("{}: cannot {}: {}", path, action, std::strerror(errno)));
}

int open_file(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (file < 0) fail(path, "open");
  return file;
}

void write_all(int file, const std::string& path, const std::string& content) {
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t wrote = ::write(file, content.data() + done, content.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail(path, "write");
    done += static_cast<size_t>(wrote);
  }
}

}  // namespace

AppendFile::AppendFile(const std::string& path) : path_(path), file_(open_file(path, O_APPEND)) {}

AppendFile::~AppendFile() {
  ::close(file_);
}

void AppendFile::append(const std::string& record) {
  write_all(file_, path_, record);
}

void write_atomically(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".tmp";
  const int file = open_file(temporary, O_TRUNC);
  try {
    write_all(file, temporary, content);
    if (::fsync(file) != 0) fail(temporary, "sync");
  } catch (...) {
    ::close(file);
    throw;
  }
  ::close(file);
  if (std::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "rename");
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file.good() && !file.eof()) fail(path, "read");
  return content;
}

}  // namespace switchyard
