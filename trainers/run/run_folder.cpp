#include "trainers/run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <thread>

#include "core/base/error.h"
#include "core/checkpoint/file_ops.h"
#include "core/checkpoint/strict_json.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kPause{50};

[[noreturn]] void fail(const std::string& path, const std::string& problem) {
  throw ConfigError(fmt::format("run.dir: {}: {}", path, problem));
}

/// "process 123 on node7 since 2026-01-31 12:00:00 UTC".
std::string own_name() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char since[64] = {};
  std::strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", &utc);
  return fmt::format("process {} on {} since {}", getpid(), host, since);
}

std::string holder_of(int lock) {
  char text[512] = {};
  const ssize_t got = pread(lock, text, sizeof text - 1, 0);
  const std::string name(text, got > 0 ? static_cast<size_t>(got) : 0);
  return name.empty() ? "another job" : shown_text(name.substr(0, name.find('\n')));
}

/// Whether `path` is still the file behind `lock`: its folder may have been renamed meanwhile.
bool is_current(int lock, const std::string& path) {
  struct stat held = {}, present = {};
  return fstat(lock, &held) == 0 && stat(path.c_str(), &present) == 0 &&
         held.st_ino == present.st_ino && held.st_dev == present.st_dev;
}

int open_lock(const std::string& folder) {
  const std::string path = folder + "/run.lock";
  const int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) fail(folder, fmt::format("cannot be written: {}", std::strerror(errno)));
  return lock;
}

/// Takes the lock of a folder, `kind` LOCK_EX or LOCK_SH, or throws the name of its holder.
int take_lock(const std::string& folder, int kind, Clock::time_point until) {
  for (;;) {
    const int lock = open_lock(folder);
    const bool taken = flock(lock, kind | LOCK_NB) == 0;
    const int error = errno;
    if (taken && is_current(lock, folder + "/run.lock")) return lock;
    const std::string holder = holder_of(lock);
    ::close(lock);
    if (!taken && error != EWOULDBLOCK && error != EINTR)
      fail(folder, fmt::format("cannot be locked: {}", std::strerror(error)));
    if (!taken && Clock::now() >= until)
      fail(folder, fmt::format("in use by {}; wait for it, or take another run.dir", holder));
    if (!taken) std::this_thread::sleep_for(kPause);
  }
}

bool holds_a_run(const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() != "run.lock") return true;
  }
  return false;
}

/// Renames the folder to NAME~1 or the first free number; returns the new path.
std::string rename_aside(FileOps& files, const std::string& folder) {
  int number = 1;
  while (files.kind(fmt::format("{}~{}", folder, number)) != FileOps::Kind::kMissing) ++number;
  std::string aside = fmt::format("{}~{}", folder, number);
  files.rename(folder, aside);
  return aside;
}

/// Makes the folder, takes it for this job, and leaves it locked and signed. Returns the lock and
/// where an earlier run went.
std::pair<int, std::string> prepare(const std::string& folder, OldRun old_run,
                                    Clock::time_point until) {
  SystemFileOps files;
  std::string aside;
  try {
    make_folders(files, folder);
    int lock = take_lock(folder, LOCK_EX, until);
    if (old_run == OldRun::kSetAside && holds_a_run(folder)) {
      aside = rename_aside(files, folder);
      make_folders(files, folder);
      const int fresh = take_lock(folder, LOCK_EX, until);
      ::close(lock);
      lock = fresh;
    }
    make_folders(files, folder + "/log");
    make_folders(files, folder + "/checkpoints");
    const std::string name = own_name() + "\n";
    if (ftruncate(lock, 0) != 0 ||
        pwrite(lock, name.data(), name.size(), 0) != static_cast<ssize_t>(name.size()))
      fail(folder, fmt::format("cannot be written: {}", std::strerror(errno)));
    return {lock, aside};
  } catch (const IoError& e) {
    fail(folder, e.without_area());
  } catch (const fs::filesystem_error& e) {
    fail(folder, e.code().message());
  }
}

std::string without_trailing_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

RunFolder::RunFolder(Communicator& comm, const std::string& path, OldRun old_run,
                     std::chrono::milliseconds patience)
    : path_(without_trailing_slash(path)) {
  const auto until = Clock::now() + patience;
  try {
    run_on_first(comm, [&] {
      std::tie(lock_, set_aside_) = prepare(path_, old_run, until);
      // From the sole owner's lock to the shared one that every rank of this job takes. Should
      // another job slip in between, this one gives way.
      if (flock(lock_, LOCK_SH | LOCK_NB) != 0)
        fail(path_,
             fmt::format("in use by {}; wait for it, or take another run.dir", holder_of(lock_)));
    });
    run_together(comm, [&] {
      if (comm.rank() != 0) lock_ = take_lock(path_, LOCK_SH, Clock::now());
    });
    set_aside_ = broadcast_text(comm, set_aside_);
  } catch (...) {
    if (lock_ >= 0) ::close(lock_);
    throw;
  }
}

RunFolder::~RunFolder() {
  ::close(lock_);
}

std::string RunFolder::log(int rank) const {
  return fmt::format("{}/log/rank-{}.txt", path_, rank);
}

}  // namespace switchyard
