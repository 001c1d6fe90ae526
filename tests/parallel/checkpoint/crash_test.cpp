#include <catch2/catch.hpp>
#include <iostream>
#include <random>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/parallel/checkpoint/faulty_file_ops.h"
#include "tests/parallel/checkpoint/memory_file_ops.h"
#include "tests/parallel/checkpoint/toy_state.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr int kRanks = 2;
constexpr int64_t kExperts = 3;
const std::string kFolder = "/checkpoints";

/// A job of two ranks that saves the state of `value` and keeps two checkpoints; the fault hits one
/// rank. Returns the text of the error that ended it, "" if none.
std::string run_save(FileOps& disk, double value, int64_t step, Fault fault, int faulty_rank,
                     int64_t at, std::vector<int64_t>* operations = nullptr) {
  std::atomic<bool> stopped = false;
  try {
    run_ranks(kRanks, [&](Communicator& comm) {
      const bool mine = comm.rank() == faulty_rank;
      FaultyFileOps files(disk, stopped, mine ? fault : Fault::kNone, mine ? at : -1);
      const ToyState state(comm, kExperts, value);
      save_checkpoint(comm, files, kFolder, state.list(), toy_metadata(step));
      if (comm.rank() == 0) prune_checkpoints(files, kFolder, 2);
      if (operations) (*operations)[static_cast<size_t>(comm.rank())] = files.count();
    });
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// What the next start finds: the value of the state it loads, −1 for a mix, −2 for no checkpoint.
double value_after_restart(FileOps& disk, std::initializer_list<double> values) {
  const auto comm = make_local_communicator();
  recover_checkpoint_folder(disk, kFolder);
  const auto found = find_newest_checkpoint(*comm, disk, kFolder);
  if (!found.checkpoint) return -2;
  if (!found.skipped.empty()) return -1;
  const ToyState state(*comm, kExperts, 0);
  load_checkpoint(*comm, disk, *found.checkpoint, state.list());
  for (const double value : values) {
    if (state.difference(value) == "") return value;
  }
  return -1;
}

bool holds_only_checkpoints(FileOps& disk) {
  for (const auto& name : disk.list(kFolder)) {
    if (!step_of_folder_name(name)) return false;
  }
  return true;
}

/// Two older checkpoints (so that the new one prunes the oldest), values 10 and 20.
std::unique_ptr<MemoryFileOps> disk_with_history() {
  auto disk = std::make_unique<MemoryFileOps>();
  run_save(*disk, 10, 1, Fault::kNone, 0, -1);
  run_save(*disk, 20, 2, Fault::kNone, 0, -1);
  return disk;
}

struct Counts {
  int64_t points = 0, previous = 0, next = 0, operations = 0;
};

/// Every fault at every operation of every rank, for a save of `step` over the history.
Counts sweep(int64_t step, const std::vector<Fault>& faults) {
  const auto history = disk_with_history();
  std::vector<int64_t> operations(kRanks);
  REQUIRE(run_save(*history->copy(), 30, step, Fault::kNone, 0, -1, &operations) == "");
  Counts counts;
  for (int rank = 0; rank < kRanks; ++rank) {
    counts.operations += operations[static_cast<size_t>(rank)];
    for (int64_t at = 0; at < operations[static_cast<size_t>(rank)]; ++at) {
      for (const Fault fault : faults) {
        CAPTURE(rank, at, static_cast<int>(fault));
        const auto disk = history->copy();
        const std::string error = run_save(*disk, 30, step, fault, rank, at);
        const double value = value_after_restart(*disk, {20, 30});
        CHECK((value == 20 || value == 30));
        if (error.empty()) CHECK(value == 30);
        CHECK(holds_only_checkpoints(*disk));
        CHECK(run_save(*disk, 40, step + 1, Fault::kNone, 0, -1) == "");
        CHECK(value_after_restart(*disk, {40}) == 40);
        ++counts.points;
        ++(value == 30 ? counts.next : counts.previous);
      }
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("A job that stops at any file operation of a save leaves the old or the new checkpoint") {
  const std::vector<Fault> stops = {Fault::kStopBefore, Fault::kStopAfter, Fault::kStopInside};
  SECTION("of a new step") {
    const Counts counts = sweep(3, stops);
    CHECK(counts.previous > 0);
    CHECK(counts.next > 0);
    std::cout << "stops during a save of a new step: " << counts.points << " points ("
              << counts.operations << " operations on " << kRanks << " ranks, 3 ways), "
              << counts.previous << " found the previous, " << counts.next
              << " the new one, 0 an error or a mix\n";
  }
  SECTION("of a step that exists already") {
    const Counts counts = sweep(2, stops);
    CHECK(counts.previous > 0);
    CHECK(counts.next > 0);
    std::cout << "stops during a save that replaces a step: " << counts.points << " points, "
              << counts.previous << " found the previous, " << counts.next
              << " the new one, 0 an error or a mix\n";
  }
}

TEST_CASE("An error at any file operation of any rank is told on all and leaves no remains") {
  const auto history = disk_with_history();
  std::vector<int64_t> operations(kRanks);
  REQUIRE(run_save(*history->copy(), 30, 3, Fault::kNone, 0, -1, &operations) == "");
  int64_t points = 0;
  for (int rank = 0; rank < kRanks; ++rank) {
    for (int64_t at = 0; at < operations[static_cast<size_t>(rank)]; ++at) {
      CAPTURE(rank, at);
      const auto disk = history->copy();
      std::atomic<bool> stopped = false;
      std::vector<std::string> errors(kRanks);
      std::vector<ExitCode> codes(kRanks, ExitCode::kDone);
      run_ranks(kRanks, [&](Communicator& comm) {
        const auto me = static_cast<size_t>(comm.rank());
        FaultyFileOps files(*disk, stopped, comm.rank() == rank ? Fault::kError : Fault::kNone, at);
        const ToyState state(comm, kExperts, 30);
        try {
          save_checkpoint(comm, files, kFolder, state.list(), toy_metadata(3));
        } catch (const Error& e) {
          errors[me] = e.what();
          codes[me] = e.code();
        }
      });
      CHECK(errors[0] == errors[1]);
      CHECK(codes[0] == codes[1]);
      const auto steps = checkpoint_steps(*disk, kFolder);
      if (!errors[0].empty()) {
        CHECK(codes[0] == ExitCode::kIoFailure);
        CHECK(errors[0].find("No space left") != std::string::npos);
        CHECK(holds_only_checkpoints(*disk));
      }
      CHECK((std::vector<int64_t>(steps.begin(), steps.begin() + 2) == std::vector<int64_t>{1, 2}));
      const double value = value_after_restart(*disk, {20, 30});
      CHECK((value == 20 || value == 30));
      ++points;
    }
  }
  std::cout << "errors during a save: " << points << " points, each the same error on all ranks\n";
}

TEST_CASE("An error at any read of any rank is told on all") {
  const auto history = disk_with_history();
  // Loads with an error at operation `at` of `rank`; returns each rank's message.
  std::vector<int64_t> operations(kRanks);
  const auto load = [&](int rank, int64_t at) {
    std::atomic<bool> stopped = false;
    std::vector<std::string> errors(kRanks);
    run_ranks(kRanks, [&](Communicator& comm) {
      const auto me = static_cast<size_t>(comm.rank());
      FaultyFileOps files(*history, stopped, comm.rank() == rank ? Fault::kError : Fault::kNone,
                          at);
      const ToyState state(comm, kExperts, 0);
      try {
        load_checkpoint(comm, files, verify_checkpoint(comm, files, kFolder + "/step-00000002"),
                        state.list());
      } catch (const Error& e) {
        errors[me] = e.what();
      }
      operations[me] = files.count();
    });
    return errors;
  };
  REQUIRE(load(0, -1) == std::vector<std::string>(kRanks));
  const std::vector<int64_t> of_rank = operations;
  for (int rank = 0; rank < kRanks; ++rank) {
    for (int64_t at = 0; at < of_rank[static_cast<size_t>(rank)]; ++at) {
      CAPTURE(rank, at);
      const auto errors = load(rank, at);
      CHECK(errors[0] != "");
      CHECK(errors[0] == errors[1]);
    }
  }
  std::cout << "errors during a load: " << of_rank[0] + of_rank[1]
            << " points, each the same error on all ranks\n";
}

TEST_CASE("Short writes are continued") {
  const auto history = disk_with_history();
  std::vector<int64_t> operations(kRanks);
  REQUIRE(run_save(*history->copy(), 30, 3, Fault::kNone, 0, -1, &operations) == "");
  for (int rank = 0; rank < kRanks; ++rank) {
    for (int64_t at = 0; at < operations[static_cast<size_t>(rank)]; ++at) {
      const auto disk = history->copy();
      CHECK(run_save(*disk, 30, 3, Fault::kShort, rank, at) == "");
      CHECK(value_after_restart(*disk, {30}) == 30);
    }
  }
}

TEST_CASE("Power that fails at any moment leaves the old or the new checkpoint") {
  constexpr int kTrials = 2000;
  std::mt19937_64 random(5);
  int previous = 0, next = 0;
  std::vector<int64_t> operations(kRanks);
  const auto history = disk_with_history();
  for (int trial = 0; trial < kTrials; ++trial) {
    const int64_t step = trial % 2 == 0 ? 3 : 2;
    if (trial < 2)
      REQUIRE(run_save(*history->copy(), 30, step, Fault::kNone, 0, -1, &operations) == "");
    const auto disk = history->copy();
    const int rank = static_cast<int>(random() % kRanks);
    // One time in eight the save ends first.
    const auto at = static_cast<int64_t>(
        random() % static_cast<uint64_t>(operations[static_cast<size_t>(rank)] * 8 / 7 + 1));
    const std::string error = run_save(*disk, 30, step, Fault::kStopAfter, rank, at);
    const uint64_t seed = random();
    disk->lose_power(seed);
    CAPTURE(trial, rank, at, seed, error);
    const double value = value_after_restart(*disk, {20, 30});
    CHECK((value == 20 || value == 30));
    if (error.empty()) CHECK(value == 30);
    ++(value == 30 ? next : previous);
  }
  std::cout << "power failures during a save: " << kTrials << ", " << previous
            << " found the previous, " << next << " the new one, 0 an error or a mix\n";
}
