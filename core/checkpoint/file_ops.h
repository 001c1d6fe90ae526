#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

/// An open file; `path` is for messages.
struct FileHandle {
  int id = -1;
  std::string path;
};

/// Every file operation that a checkpoint consists of. One narrow interface, so that a test can
/// fail, cut short or stop the process at each of them. Failures throw IoError with the path and
/// the system's reason. Safe for several threads.
class FileOps {
 public:
  enum class Kind { kMissing, kFile, kFolder, kLink, kOther };

  virtual ~FileOps() = default;

  /// What is at `path` itself: links are not followed.
  virtual Kind kind(const std::string& path) = 0;
  /// Names in a folder, sorted.
  virtual std::vector<std::string> list(const std::string& folder) = 0;

  /// A new file for writing; an existing one is an error.
  virtual FileHandle create(const std::string& path) = 0;
  /// Claims disk space for the first `bytes` bytes, so that a full disk shows before the work.
  virtual void reserve(const FileHandle& file, uint64_t bytes) = 0;
  /// Appends; may take fewer bytes than given, at least one. Returns how many.
  virtual size_t write(const FileHandle& file, const void* data, size_t bytes) = 0;
  /// Returns when the contents are on the disk.
  virtual void sync(const FileHandle& file) = 0;

  /// For reading. Never waits, whatever is at `path`.
  virtual FileHandle open(const std::string& path) = 0;
  /// In bytes; what is no regular file is an error.
  virtual uint64_t size(const FileHandle& file) = 0;
  /// Up to `bytes` bytes from `offset`; returns how many, 0 at the end of the file.
  virtual size_t read(const FileHandle& file, void* data, size_t bytes, uint64_t offset) = 0;
  /// Never throws.
  virtual void close(const FileHandle& file) noexcept = 0;

  /// Its parent must exist, it must not.
  virtual void make_folder(const std::string& path) = 0;
  /// Returns when the names in the folder are on the disk.
  virtual void sync_folder(const std::string& path) = 0;
  /// Atomic. A target that is a file is replaced.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove_file(const std::string& path) = 0;
  /// Of an empty folder.
  virtual void remove_folder(const std::string& path) = 0;
};

/// The real file system.
class SystemFileOps final : public FileOps {
 public:
  Kind kind(const std::string& path) override;
  std::vector<std::string> list(const std::string& folder) override;
  FileHandle create(const std::string& path) override;
  void reserve(const FileHandle& file, uint64_t bytes) override;
  size_t write(const FileHandle& file, const void* data, size_t bytes) override;
  void sync(const FileHandle& file) override;
  FileHandle open(const std::string& path) override;
  uint64_t size(const FileHandle& file) override;
  size_t read(const FileHandle& file, void* data, size_t bytes, uint64_t offset) override;
  void close(const FileHandle& file) noexcept override;
  void make_folder(const std::string& path) override;
  void sync_folder(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove_file(const std::string& path) override;
  void remove_folder(const std::string& path) override;
};

/// Closes its file at the end of the scope.
class OpenFile {
 public:
  OpenFile(FileOps& files, FileHandle handle) : files_(files), handle_(std::move(handle)) {}
  ~OpenFile() { files_.close(handle_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  const FileHandle& handle() const { return handle_; }
  FileOps& files() const { return files_; }

 private:
  FileOps& files_;
  FileHandle handle_;
};

/// Writes all of `bytes`.
void write_all(const OpenFile& file, std::string_view bytes);

/// A new file with this text, on the disk on return.
void write_file(FileOps& files, const std::string& path, std::string_view text);

/// Exactly `bytes` bytes from `offset`; a file that ends earlier throws IoError.
void read_exactly(const OpenFile& file, void* data, size_t bytes, uint64_t offset);

/// The whole file; larger than `max_bytes` throws IoError.
std::string read_file(FileOps& files, const std::string& path, uint64_t max_bytes);

/// Makes a folder and its missing parents. An existing folder, or a link to one, is left as it is.
void make_folders(FileOps& files, const std::string& path);

/// Removes a folder and what it holds. Links inside are removed, never followed; a `path` that is
/// itself a link is refused with IoError.
void remove_tree(FileOps& files, const std::string& path);

}  // namespace switchyard
