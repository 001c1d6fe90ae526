#include "parallel/checkpoint/checkpoint_folder.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <random>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "tests/parallel/checkpoint/toy_state.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using namespace switchyard::test;
using Catch::Matchers::Contains;

namespace {

void save(FileOps& files, const std::string& parent, int64_t step) {
  const auto comm = make_local_communicator();
  const ToyState state(*comm, 2, static_cast<double>(step));
  save_checkpoint(*comm, files, parent, state.list(), toy_metadata(step));
}

}  // namespace

TEST_CASE("Step folders have one spelling") {
  CHECK(step_folder_name(0) == "step-00000000");
  CHECK(step_folder_name(100) == "step-00000100");
  CHECK(step_folder_name(1234567890) == "step-1234567890");
  for (const int64_t step : {int64_t{0}, int64_t{7}, int64_t{99999999}, int64_t{100000000}})
    CHECK(step_of_folder_name(step_folder_name(step)) == step);
  for (const char* name : {"step-", "step-1", "step-0000001x", "step-000000100",
                           "step-00000100.tmp-a", "step-00000100.aside-1", ".trash-step-00000100",
                           "step--0000001", "Step-00000100", "step-99999999999999999999"})
    CHECK_FALSE(step_of_folder_name(name).has_value());
}

TEST_CASE("Pruning keeps the newest") {
  const TempFolder temp;
  SystemFileOps files;
  for (const int64_t step : {1, 2, 3, 10}) save(files, temp.path("c"), step);
  temp.write("c/notes.txt", "mine");
  CHECK((prune_checkpoints(files, temp.path("c"), 2).deleted == std::vector<int64_t>{1, 2}));
  CHECK((checkpoint_steps(files, temp.path("c")) == std::vector<int64_t>{3, 10}));
  CHECK(prune_checkpoints(files, temp.path("c"), 2).deleted.empty());
  CHECK(temp.read("c/notes.txt") == "mine");
  CHECK(checkpoint_steps(files, temp.path("none")).empty());
}

TEST_CASE("A checkpoint that is a link is never deleted") {
  const TempFolder temp;
  SystemFileOps files;
  save(files, temp.path("precious"), 1);
  for (const int64_t step : {2, 3}) save(files, temp.path("c"), step);
  REQUIRE(symlink(temp.path("precious/step-00000001").c_str(),
                  temp.path("c/step-00000001").c_str()) == 0);
  const PruneResult pruned = prune_checkpoints(files, temp.path("c"), 1);
  CHECK((pruned.deleted == std::vector<int64_t>{2}));
  REQUIRE(pruned.problems.size() == 1);
  CHECK_THAT(pruned.problems[0], Contains("step-00000001: not deleted, it is a link"));
  CHECK(files.kind(temp.path("precious/step-00000001/manifest.json")) == FileOps::Kind::kFile);
  CHECK(files.kind(temp.path("c/step-00000001")) == FileOps::Kind::kLink);
}

TEST_CASE("A start removes remains and nothing else") {
  const TempFolder temp;
  SystemFileOps files;
  save(files, temp.path("c"), 5);
  for (const char* name : {"c/step-00000006.tmp-run/half", "c/.trash-step-00000004/half",
                           "c/step-00000007.aside-1/kept", "c/mine.tmp-x/kept",
                           "c/step-1.tmp-x/kept", "c/.trash/kept"})
    temp.write(name, "x");
  const auto done = recover_checkpoint_folder(files, temp.path("c"));
  CHECK(done.size() == 2);
  CHECK((files.list(temp.path("c")) ==
         std::vector<std::string>{".trash", "mine.tmp-x", "step-00000005", "step-00000007.aside-1",
                                  "step-1.tmp-x"}));
  CHECK(recover_checkpoint_folder(files, temp.path("none")).empty());
}

TEST_CASE("A replaced checkpoint gets its name back when its successor never came") {
  const TempFolder temp;
  SystemFileOps files;
  save(files, temp.path("c"), 5);
  const std::string folder = temp.path("c/step-00000005");
  files.rename(folder, folder + ".replaced");
  CHECK(recover_checkpoint_folder(files, temp.path("c")).size() == 1);
  CHECK((checkpoint_steps(files, temp.path("c")) == std::vector<int64_t>{5}));

  temp.write("c/step-00000005.replaced/x", "x");
  recover_checkpoint_folder(files, temp.path("c"));
  CHECK((files.list(temp.path("c")) == std::vector<std::string>{"step-00000005"}));
  CHECK(files.kind(folder + "/manifest.json") == FileOps::Kind::kFile);
}

TEST_CASE("What is newer than a step is set aside under a free name") {
  const TempFolder temp;
  SystemFileOps files;
  for (const int64_t step : {1, 2, 3}) save(files, temp.path("c"), step);
  temp.write("c/step-00000003.aside-1/x", "x");
  CHECK((set_aside_newer(files, temp.path("c"), 1) ==
         std::vector<std::string>{temp.path("c/step-00000002.aside-1"),
                                  temp.path("c/step-00000003.aside-2")}));
  CHECK((checkpoint_steps(files, temp.path("c")) == std::vector<int64_t>{1}));
}

TEST_CASE("A path is a checkpoint, a folder of them, or a run") {
  const TempFolder temp;
  SystemFileOps files;
  for (const int64_t step : {20, 3}) save(files, temp.path("run/checkpoints"), step);
  const std::string parent = temp.path("run/checkpoints");
  const std::vector<std::string> both = {parent + "/step-00000003", parent + "/step-00000020"};
  CHECK(checkpoints_in(files, temp.path("run")).folders == both);
  CHECK(checkpoints_in(files, parent).folders == both);
  CHECK(checkpoints_in(files, parent).parent == parent);
  CHECK((checkpoints_in(files, both[0]).folders == std::vector<std::string>{both[0]}));
  CHECK(checkpoints_in(files, both[0]).parent.empty());

  temp.write("file", "x");
  temp.write("empty/x", "x");
  CHECK_THROWS_WITH(checkpoints_in(files, temp.path("none")),
                    Contains("no such run or checkpoint"));
  CHECK_THROWS_WITH(checkpoints_in(files, temp.path("file")), Contains("holds no checkpoint"));
  CHECK_THROWS_WITH(checkpoints_in(files, temp.path("empty")), Contains("holds no checkpoint"));
}

TEST_CASE("A process killed at a random moment of its saves loses no committed step") {
  constexpr int kKills = 60;
  const TempFolder temp;
  SystemFileOps files;
  const std::string parent = temp.path("c");
  const auto comm = make_local_communicator();
  std::mt19937 random(11);
  int64_t step = 0;
  int remains = 0;
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    int committed[2];
    REQUIRE(pipe(committed) == 0);
    const pid_t child = fork();
    if (child == 0) {
      for (int64_t next = step + 1;; ++next) {
        save(files, parent, next);
        if (write(committed[1], &next, sizeof next) != sizeof next) _exit(1);
        prune_checkpoints(files, parent, 2);
      }
    }
    close(committed[1]);
    int64_t told = step;
    REQUIRE(read(committed[0], &told, sizeof told) == sizeof told);  // it is at work
    usleep(random() % 20000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(committed[0], &told, sizeof told) == sizeof told) {
    }
    close(committed[0]);

    remains += static_cast<int>(recover_checkpoint_folder(files, parent).size());
    const auto found = find_newest_checkpoint(*comm, files, parent);
    REQUIRE(found.checkpoint.has_value());
    CHECK(found.skipped.empty());
    step = found.checkpoint->manifest.metadata.step;
    CHECK(step >= told);
    const ToyState state(*comm, 2, 0);
    load_checkpoint(*comm, files, *found.checkpoint, state.list());
    CHECK(state.difference(static_cast<double>(step)) == "");
  }
  std::cout << "kills during saves: " << kKills << ", 0 unreadable, 0 committed steps lost, "
            << remains << " remains cleaned up, " << step << " steps saved\n";
}
