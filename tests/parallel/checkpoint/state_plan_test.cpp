#include "parallel/checkpoint/state_plan.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <mutex>

#include "core/base/error.h"
#include "parallel/checkpoint/together.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/parallel/checkpoint/toy_state.h"
#include "tests/support/expect.h"

using namespace switchyard;
using namespace switchyard::test;

TEST_CASE("Writers share the bytes about equally, each among a tensor's holders") {
  constexpr int kRanks = 4;
  std::vector<std::vector<int>> writers(kRanks);
  std::vector<uint64_t> load(kRanks, 0);
  uint64_t largest = 0;
  run_ranks(kRanks, [&](Communicator& comm) {
    StateList state;
    for (int i = 0; i < 40; ++i)
      state.push_back({fmt::format("dense.{}", i), at::zeros({1 + i * i})});
    state.push_back({fmt::format("expert.{}", comm.rank()), at::zeros({500 * (comm.rank() + 1)})});
    const auto plan = plan_state(comm, state);
    EXPECT(plan.size() == 44);
    for (const auto& tensor : plan) {
      const auto& holders = tensor.holders;
      EXPECT(std::find(holders.begin(), holders.end(), tensor.writer) != holders.end());
      writers[static_cast<size_t>(comm.rank())].push_back(tensor.writer);
      if (comm.rank() != 0) continue;
      load[static_cast<size_t>(tensor.writer)] += tensor.bytes;
      largest = std::max(largest, tensor.bytes);
    }
  });
  for (const auto& of_rank : writers) CHECK(of_rank == writers[0]);
  const auto [least, most] = std::minmax_element(load.begin(), load.end());
  CHECK(*most - *least <= largest);
}

TEST_CASE("Each tensor is written by exactly one rank") {
  std::mutex mutex;
  std::vector<std::string> written;
  run_ranks(3, [&](Communicator& comm) {
    const ToyState state(comm, 7, 1);
    const auto plan = plan_state(comm, state.list());
    for (const auto& item : items_written_by(comm.rank(), plan, state.list())) {
      const std::lock_guard lock(mutex);
      written.push_back(item.name);
    }
  });
  CHECK(written.size() == 5 + 2 * 7);
  std::sort(written.begin(), written.end());
  CHECK(std::adjacent_find(written.begin(), written.end()) == written.end());
}

TEST_CASE("Texts are gathered by rank, empty ones too") {
  run_ranks(4, [](Communicator& comm) {
    const std::string mine(static_cast<size_t>(comm.rank() % 3) * 1000,
                           static_cast<char>('a' + comm.rank()));
    const auto all = gather_texts(comm, mine);
    EXPECT(all.size() == 4);
    for (int rank = 0; rank < 4; ++rank)
      EXPECT(all[static_cast<size_t>(rank)] ==
             std::string(static_cast<size_t>(rank % 3) * 1000, static_cast<char>('a' + rank)));
  });
}

TEST_CASE("An error on one rank is the error of all, the lowest rank's first") {
  run_ranks(3, [](Communicator& comm) {
    std::string text;
    ExitCode code = ExitCode::kDone;
    try {
      run_together(comm, [&] {
        if (comm.rank() == 2) throw std::runtime_error("from two");
        if (comm.rank() == 1) throw IoError("from one");
      });
    } catch (const Error& e) {
      text = e.what();
      code = e.code();
    }
    EXPECT(text == "[io] from one", "{}", text);
    EXPECT(code == ExitCode::kIoFailure);
  });
}
