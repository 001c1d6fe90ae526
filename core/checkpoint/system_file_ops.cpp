#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/base/error.h"
#include "core/checkpoint/file_ops.h"

namespace switchyard {
namespace {

// Some kernels take at most 2^31 - 4096 bytes in one call.
constexpr size_t kLargestCall = size_t{1} << 30;

[[noreturn]] void fail(const char* what, const std::string& path, int error,
                       const std::string& more = "") {
  char buffer[256] = {};
  throw IoError(fmt::format("cannot {} {}: {}{}", what, path,
                            strerror_r(error, buffer, sizeof buffer), more));
}

/// Free space beside `file`, for the message of a write that found none.
std::string space_left(const FileHandle& file, uint64_t needed) {
  struct statvfs disk = {};
  if (fstatvfs(file.id, &disk) != 0) return "";
  const auto available = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  return fmt::format(" ({} bytes needed, {} free)", needed, available);
}

/// Calls until it is not interrupted by a signal.
template <class Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int open_file(const std::string& path, int flags, const char* what) {
  const int id = uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
  if (id < 0) fail(what, path, errno);
  return id;
}

}  // namespace

FileOps::Kind SystemFileOps::kind(const std::string& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return Kind::kMissing;
    fail("look at", path, errno);
  }
  if (S_ISREG(info.st_mode)) return Kind::kFile;
  if (S_ISDIR(info.st_mode)) return Kind::kFolder;
  return S_ISLNK(info.st_mode) ? Kind::kLink : Kind::kOther;
}

std::vector<std::string> SystemFileOps::list(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), &closedir);
  if (!dir) fail("list", folder, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) fail("list", folder, errno);
  std::sort(names.begin(), names.end());
  return names;
}

FileHandle SystemFileOps::create(const std::string& path) {
  return {open_file(path, O_WRONLY | O_CREAT | O_EXCL, "create"), path};
}

void SystemFileOps::reserve(const FileHandle& file, uint64_t bytes) {
  if (bytes == 0) return;
  const int result =
      uninterrupted([&] { return ::fallocate(file.id, 0, 0, static_cast<off_t>(bytes)); });
  // A file system without preallocation reports a full disk at the write instead.
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
    const int error = errno;
    fail("write", file.path, error, space_left(file, bytes));
  }
}

size_t SystemFileOps::write(const FileHandle& file, const void* data, size_t bytes) {
  const ssize_t written =
      uninterrupted([&] { return ::write(file.id, data, std::min(bytes, kLargestCall)); });
  if (written <= 0) {
    const int error = written == 0 ? EIO : errno;
    fail("write", file.path, error, space_left(file, bytes));
  }
  return static_cast<size_t>(written);
}

void SystemFileOps::sync(const FileHandle& file) {
  if (uninterrupted([&] { return ::fsync(file.id); }) != 0) fail("sync", file.path, errno);
}

FileHandle SystemFileOps::open(const std::string& path) {
  // A named pipe would wait for its writer here; size() refuses what is no regular file.
  return {open_file(path, O_RDONLY | O_NONBLOCK, "read"), path};
}

uint64_t SystemFileOps::size(const FileHandle& file) {
  struct stat info = {};
  if (fstat(file.id, &info) != 0) fail("look at", file.path, errno);
  if (!S_ISREG(info.st_mode)) throw IoError(fmt::format("{}: not a regular file", file.path));
  return static_cast<uint64_t>(info.st_size);
}

size_t SystemFileOps::read(const FileHandle& file, void* data, size_t bytes, uint64_t offset) {
  const ssize_t got = uninterrupted([&] {
    return ::pread(file.id, data, std::min(bytes, kLargestCall), static_cast<off_t>(offset));
  });
  if (got < 0) fail("read", file.path, errno);
  return static_cast<size_t>(got);
}

void SystemFileOps::close(const FileHandle& file) noexcept {
  ::close(file.id);
}

void SystemFileOps::make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) != 0) fail("make folder", path, errno);
}

void SystemFileOps::sync_folder(const std::string& path) {
  const int id = open_file(path, O_RDONLY | O_DIRECTORY, "sync folder");
  const int result = uninterrupted([&] { return ::fsync(id); });
  const int error = errno;
  ::close(id);
  // Some network file systems do not sync folders; they make names durable by themselves.
  if (result != 0 && error != EINVAL) fail("sync folder", path, error);
}

void SystemFileOps::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(("rename " + from + " to").c_str(), to, errno);
}

void SystemFileOps::remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) fail("remove", path, errno);
}

void SystemFileOps::remove_folder(const std::string& path) {
  if (::rmdir(path.c_str()) != 0) fail("remove folder", path, errno);
}

}  // namespace switchyard
