#pragma once

#include <atomic>
#include <string>

#include "core/base/error.h"
#include "core/checkpoint/file_ops.h"

namespace switchyard::test {

enum class Fault {
  kNone,
  kStopBefore,  ///< the whole job ends before the operation
  kStopAfter,   ///< ... after it
  kStopInside,  ///< ... when half of a write is done; like kStopBefore for the others
  kError,       ///< the operation fails, the job goes on
  kShort,       ///< a write takes half of the bytes and says so; the others are as always
};

/// One rank's view of a file system, with a fault at its operation number `at`. `stopped` is shared
/// by the ranks of a job: after a stop no operation of any rank has an effect.
class FaultyFileOps final : public FileOps {
 public:
  FaultyFileOps(FileOps& inner, std::atomic<bool>& stopped, Fault fault = Fault::kNone,
                int64_t at = -1)
      : inner_(inner), stopped_(stopped), fault_(fault), at_(at) {}

  /// Operations so far.
  int64_t count() const { return count_; }

  Kind kind(const std::string& path) override {
    return step([&] { return inner_.kind(path); });
  }
  std::vector<std::string> list(const std::string& folder) override {
    return step([&] { return inner_.list(folder); });
  }
  FileHandle create(const std::string& path) override {
    return step([&] { return inner_.create(path); });
  }
  void reserve(const FileHandle& file, uint64_t bytes) override {
    step([&] { inner_.reserve(file, bytes); });
  }
  size_t write(const FileHandle& file, const void* data, size_t bytes) override {
    const bool here = count_ == at_ && bytes > 1;
    if (here && fault_ == Fault::kShort) {
      ++count_;
      return inner_.write(file, data, bytes / 2);
    }
    if (here && fault_ == Fault::kStopInside && !stopped_) {
      inner_.write(file, data, bytes / 2);
      stop();
    }
    return step([&] { return inner_.write(file, data, bytes); });
  }
  void sync(const FileHandle& file) override {
    step([&] { inner_.sync(file); });
  }
  FileHandle open(const std::string& path) override {
    return step([&] { return inner_.open(path); });
  }
  uint64_t size(const FileHandle& file) override {
    return step([&] { return inner_.size(file); });
  }
  size_t read(const FileHandle& file, void* data, size_t bytes, uint64_t offset) override {
    return step([&] { return inner_.read(file, data, bytes, offset); });
  }
  void close(const FileHandle& file) noexcept override { inner_.close(file); }
  void make_folder(const std::string& path) override {
    step([&] { inner_.make_folder(path); });
  }
  void sync_folder(const std::string& path) override {
    step([&] { inner_.sync_folder(path); });
  }
  void rename(const std::string& from, const std::string& to) override {
    step([&] { inner_.rename(from, to); });
  }
  void remove_file(const std::string& path) override {
    step([&] { inner_.remove_file(path); });
  }
  void remove_folder(const std::string& path) override {
    step([&] { inner_.remove_folder(path); });
  }

 private:
  [[noreturn]] void stop() {
    stopped_ = true;
    throw IoError("the job was stopped");
  }
  template <class Operation>
  auto step(const Operation& operation) -> decltype(operation()) {
    const bool here = count_++ == at_;
    if (stopped_) throw IoError("the job was stopped");
    if (here && fault_ == Fault::kError) throw IoError("cannot write: No space left on device");
    if (here && (fault_ == Fault::kStopBefore || fault_ == Fault::kStopInside)) stop();
    if (here && fault_ == Fault::kStopAfter) {
      operation();
      stop();
    }
    return operation();
  }

  FileOps& inner_;
  std::atomic<bool>& stopped_;
  Fault fault_;
  int64_t at_;
  int64_t count_ = 0;
};

}  // namespace switchyard::test
