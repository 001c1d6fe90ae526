#include "trainers/run/run_folder.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/expect.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using test::TempFolder;
namespace fs = std::filesystem;

namespace {

/// The message with which a run folder refuses to open, "" if it opens.
std::string problem(const std::string& path, OldRun old_run = OldRun::kKeep,
                    std::chrono::milliseconds patience = 0ms) {
  const auto comm = make_local_communicator();
  try {
    const RunFolder folder(*comm, path, old_run, patience);
  } catch (const ConfigError&) {
    throw std::runtime_error("not agreed on");
  } catch (const Error& e) {
    CHECK(e.code() == ExitCode::kBadInput);
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("A run folder is made with its parts and its parents") {
  const TempFolder temp;
  const auto comm = make_local_communicator();
  const RunFolder folder(*comm, temp.path("a/b/run/"), OldRun::kKeep);
  CHECK(folder.path() == temp.path("a/b/run"));
  CHECK(folder.log(3) == temp.path("a/b/run/log/rank-3.txt"));
  CHECK(fs::is_directory(temp.path("a/b/run/log")));
  CHECK(fs::is_directory(folder.checkpoints()));
  CHECK(folder.set_aside().empty());
  CHECK_THAT(temp.read("a/b/run/run.lock"),
             Contains("process " + std::to_string(getpid()) + " on ") && Contains("since 2"));
}

TEST_CASE("A run goes on in its old folder") {
  const TempFolder temp;
  temp.write("run/metrics.jsonl", "{}\n");
  CHECK(problem(temp.path("run")) == "");
  CHECK(problem(temp.path("run")) == "");
  CHECK(temp.read("run/metrics.jsonl") == "{}\n");
}

TEST_CASE("A run that is not to go on sets the old folder aside") {
  const TempFolder temp;
  const auto comm = make_local_communicator();
  temp.write("run/metrics.jsonl", "first\n");
  for (const char* name : {"run~1", "run~2"}) {
    const RunFolder folder(*comm, temp.path("run"), OldRun::kSetAside);
    CHECK(folder.set_aside() == temp.path(name));
    CHECK(fs::exists(temp.path(std::string(name) + "/metrics.jsonl")));
    CHECK_FALSE(fs::exists(temp.path("run/metrics.jsonl")));
    temp.write("run/metrics.jsonl", "next\n");
  }
  CHECK(temp.read("run~1/metrics.jsonl") == "first\n");
  CHECK(temp.read("run~2/metrics.jsonl") == "next\n");

  SECTION("but not one that holds nothing") {
    fs::create_directories(temp.path("empty"));
    const RunFolder folder(*comm, temp.path("empty"), OldRun::kSetAside);
    CHECK(folder.set_aside().empty());
  }
}

TEST_CASE("A folder that cannot be used is refused before anything is written") {
  const TempFolder temp;
  temp.write("file", "x");
  CHECK_THAT(problem(temp.path("file")), Contains("[config] run.dir: " + temp.path("file")));
  CHECK_THAT(problem(temp.path("file/run")), Contains("run.dir: "));
  CHECK_THAT(problem(temp.path(std::string(300, 'n'))), Contains("File name too long"));
  CHECK_THAT(problem("/proc/switchyard/run"), Contains("run.dir: /proc/switchyard/run"));
  if (geteuid() != 0) {
    fs::create_directories(temp.path("locked"));
    fs::permissions(temp.path("locked"), fs::perms::owner_read | fs::perms::owner_exec);
    CHECK_THAT(problem(temp.path("locked")), Contains("Permission denied"));
    CHECK_THAT(problem(temp.path("locked/run")), Contains("Permission denied"));
  }
}

TEST_CASE("Two jobs cannot share a run folder") {
  const TempFolder temp;
  const std::string path = temp.path("run");
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto comm = make_local_communicator();
    const RunFolder folder(*comm, path, OldRun::kKeep);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);

  const std::string holder = "in use by process " + std::to_string(child) + " on ";
  CHECK_THAT(problem(path), Contains(holder) && Contains("another run.dir"));
  CHECK_THAT(problem(path, OldRun::kSetAside), Contains(holder));
  CHECK_FALSE(fs::exists(path + "~1"));
  CHECK_THAT(problem(path, OldRun::kKeep, 200ms), Contains(holder));
  temp.write("run/run.lock", "me\r\x1b[31m\nerror: ");
  CHECK_THAT(problem(path), Contains("in use by me\\r\\u001b[31m; wait for it"));

  SECTION("until the first one ends, however it ends") {
    kill(child, SIGKILL);
    CHECK(problem(path, OldRun::kKeep, 5000ms) == "");
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("Every rank of a job holds the lock and refuses with the same words") {
  const TempFolder temp;
  run_ranks(3, [&](Communicator& comm) {
    auto folder = std::make_unique<RunFolder>(comm, temp.path("run"), OldRun::kKeep);
    // A rank that outlives the others still keeps the next job out.
    if (comm.rank() != 2) folder.reset();
    comm.barrier();
    if (comm.rank() == 0) {
      const auto alone = make_local_communicator();
      bool refused = false;
      try {
        const RunFolder second(*alone, temp.path("run"), OldRun::kKeep, 0ms);
      } catch (const Error&) {
        refused = true;
      }
      EXPECT(refused);
    }
    comm.barrier();
    folder.reset();
    comm.barrier();
    const RunFolder again(comm, temp.path("run"), OldRun::kKeep);
    comm.barrier();
  });

  temp.write("file", "x");
  std::vector<std::string> texts(3);
  run_ranks(3, [&](Communicator& comm) {
    try {
      const RunFolder folder(comm, temp.path("file"), OldRun::kKeep);
    } catch (const Error& e) {
      texts[static_cast<size_t>(comm.rank())] = e.what();
    }
  });
  CHECK(texts[0] != "");
  CHECK(texts[1] == texts[0]);
  CHECK(texts[2] == texts[0]);
}
