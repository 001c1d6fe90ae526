#include "parallel/comm/thread_communicator.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "tests/parallel/comm/conformance.h"
#include "tests/support/expect.h"

using namespace switchyard;
using Catch::Contains;

TEST_CASE("the local communicator conforms") {
  for (const auto& test : conformance_cases()) {
    DYNAMIC_SECTION(test.name) {
      const auto comm = make_local_communicator();
      test.run(*comm, at::kCPU);
      CHECK(comm->backend() == "local");
    }
  }
}

TEST_CASE("ranks as threads conform") {
  const int ranks = GENERATE(1, 2, 3, 5);
  for (const auto& test : conformance_cases()) {
    DYNAMIC_SECTION(test.name << " with " << ranks << " ranks") {
      std::atomic<int> done = 0;
      run_ranks(ranks, [&](Communicator& comm) {
        EXPECT(comm.backend() == "thread");
        test.run(comm, at::kCPU);
        ++done;
      });
      CHECK(done == ranks);
    }
  }
}

TEST_CASE("a rank that throws ends all ranks, and its own error comes out") {
  SECTION("while the others wait in a collective") {
    std::atomic<int> stopped = 0;
    const auto body = [&](Communicator& comm) {
      if (comm.rank() == 2) throw DataError("a broken file");
      try {
        at::Tensor sum = at::zeros({3});
        comm.all_reduce({sum}, ReduceOp::kSum)->wait();
      } catch (const CommError& error) {
        EXPECT(std::string(error.what()).find("rank 2 stopped: [data] a broken file") !=
               std::string::npos);
        ++stopped;
        throw;
      }
    };
    CHECK_THROWS_AS(run_ranks(4, body), DataError);
    CHECK(stopped == 3);
  }
  SECTION("the lowest rank's, when several fail") {
    const auto body = [](Communicator& comm) {
      if (comm.rank() > 0) throw IoError(fmt::format("of rank {}", comm.rank()));
      comm.barrier();
    };
    CHECK_THROWS_WITH(run_ranks(3, body), Contains("of rank 1"));
  }
  SECTION("while it holds an unfinished handle") {
    const auto body = [](Communicator& comm) {
      at::Tensor sum = at::zeros({3});
      const WorkPtr work = comm.all_reduce({sum}, ReduceOp::kSum);
      if (comm.rank() == 1) throw DataError("late");
      work->wait();
      comm.barrier();
    };
    CHECK_THROWS_AS(run_ranks(3, body), DataError);
  }
}

TEST_CASE("waits that nobody can end are errors, not hangs") {
  SECTION("a rank returned early") {
    const auto body = [](Communicator& comm) {
      if (comm.rank() != 1) comm.barrier();
    };
    CHECK_THROWS_WITH(run_ranks(3, body),
                      Contains("no rank is left") && Contains("rank 2 in barrier"));
  }
  SECTION("two ranks wait for each other's message") {
    const auto body = [](Communicator& comm) {
      at::Tensor number = at::zeros({1});
      comm.receive({number}, 1 - comm.rank(), 0)->wait();
    };
    CHECK_THROWS_WITH(run_ranks(2, body), Contains("receive from rank"));
  }
  SECTION("groups in opposite orders") {
    const auto body = [](Communicator& comm) {
      const auto other = comm.split(0, comm.rank());
      (comm.rank() == 0 ? comm : *other).barrier();
      (comm.rank() == 0 ? *other : comm).barrier();
    };
    CHECK_THROWS_AS(run_ranks(2, body), CommError);
  }
}

TEST_CASE("ranks that disagree about a collective are told so") {
  SECTION("another operation") {
    const auto body = [](Communicator& comm) {
      at::Tensor sum = at::zeros({3});
      if (comm.rank() == 0) comm.barrier();
      comm.all_reduce({sum}, ReduceOp::kSum)->wait();
    };
    CHECK_THROWS_WITH(run_ranks(2, body), Contains("barrier") && Contains("all_reduce"));
  }
  SECTION("another size") {
    const auto body = [](Communicator& comm) {
      at::Tensor sum = at::zeros({3 + comm.rank()});
      comm.all_reduce({sum}, ReduceOp::kSum)->wait();
    };
    CHECK_THROWS_WITH(run_ranks(2, body),
                      Contains("3 elements") && Contains("4 of Float on rank 1"));
  }
  SECTION("another number of rows") {
    const auto body = [](Communicator& comm) {
      at::Tensor rows = at::zeros({2, 3}), out = at::zeros({3, 3});
      comm.all_to_all_v({out}, {rows}, {1, 2}, {1, 1})->wait();
    };
    CHECK_THROWS_WITH(run_ranks(2, body), Contains("sends 1 rows"));
  }
}

TEST_CASE("the intra-op threads are shared among the ranks and given back") {
  const int before = at::get_num_threads();
  run_ranks(2 * before, [](Communicator&) { EXPECT(at::get_num_threads() == 1); });
  CHECK(at::get_num_threads() == before);
  run_ranks(1, [&](Communicator&) { EXPECT(at::get_num_threads() == before); });
}
