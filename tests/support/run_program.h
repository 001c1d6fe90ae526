#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/paths.h"

// Runs programs the way a user does, for the end-to-end tests.
namespace switchyard::test {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t from = 0; from < text.size();) {
    const size_t end = text.find('\n', from);
    lines.push_back(text.substr(from, end - from));
    if (end == std::string::npos) break;
    from = end + 1;
  }
  return lines;
}

struct Outcome {
  int code = 0;  ///< exit code; 128 + signal if one ended it
  std::string out, err;
};

/// A started program whose output goes to files in `folder`. Destroying it kills and reaps it.
class Program {
 public:
  Program(const std::vector<std::string>& command, const std::filesystem::path& folder,
          const std::string& tag = "program")
      : out_(folder / (tag + ".out")), err_(folder / (tag + ".err")) {
    std::filesystem::create_directories(folder);
    std::vector<char*> arguments;
    for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      redirect(out_, STDOUT_FILENO);
      redirect(err_, STDERR_FILENO);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (pid_ <= 0) return;
    send(SIGKILL);
    wait();
  }

  pid_t pid() const { return pid_; }
  void send(int signal) const { kill(pid_, signal); }

  bool running() {
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) finish(status);
    return pid_ > 0;
  }

  Outcome wait() {
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, 0) == pid_) finish(status);
    return {code_, read_text(out_), read_text(err_)};
  }

 private:
  static void redirect(const std::filesystem::path& path, int descriptor) {
    dup2(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), descriptor);
  }
  void finish(int status) {
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = 0;
  }

  std::filesystem::path out_, err_;
  pid_t pid_ = 0;
  int code_ = 0;
};

/// `switchyard ARGUMENTS`, on `ranks` ranks through launch/run.sh; 0 = without a launcher.
inline std::vector<std::string> switchyard(int ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> command;
  if (ranks > 0) command = {test::source_path("/launch/run.sh"), "-n", std::to_string(ranks)};
  command.push_back(test::binary_path());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

inline Outcome run(const std::vector<std::string>& command, const std::filesystem::path& folder) {
  return Program(command, folder).wait();
}

/// Waits until `done` holds; false after `seconds`.
inline bool wait_until(const std::function<bool()>& done, double seconds = 60) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// Process ids of the children of `parent` that run `switchyard` itself.
inline std::vector<pid_t> ranks_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = read_text(entry.path() / "stat");
    const size_t close = stat.rfind(')');
    if (close == std::string::npos || stat.find("(switchyard)") == std::string::npos) continue;
    if (stat.compare(close + 4, std::to_string(parent).size() + 1, std::to_string(parent) + " ") ==
        0)
      found.push_back(std::stoi(name));
  }
  return found;
}

}  // namespace switchyard::test
