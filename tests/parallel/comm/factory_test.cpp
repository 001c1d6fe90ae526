#include "parallel/comm/factory.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "parallel/comm/nccl.h"

using namespace switchyard;
using Catch::Contains;

TEST_CASE("a lone process gets the local communicator") {
  CHECK(make_world({})->backend() == "local");
  CHECK(make_world({.backend = "local"})->size() == 1);
  CHECK(make_world({.device = c10::Device("cuda:0")})->backend() == "local");
}

TEST_CASE("a backend that this start cannot have is refused with those that it can") {
  for (const std::string backend : {"mpi", "nccl", "thread", "gloo"}) {
    CHECK_THROWS_WITH(
        make_world({.backend = backend}),
        Contains("[config] parallel.comm: " + backend) && Contains("allowed here: auto, local"));
  }
  CHECK_THROWS_WITH(make_world({.backend = "local", .launched = true}),
                    Contains("a launcher started this one") && Contains("allowed here: auto"));
  if (has_mpi())
    CHECK_THROWS_WITH(
        make_world({.backend = "mpi", .launched = true, .device = c10::Device("cuda:0")}),
        Contains("carries CPU tensors") && !Contains("auto, mpi"));
  if (has_nccl()) {
    CHECK_THROWS_WITH(make_world({.backend = "nccl", .launched = true}),
                      Contains("needs a GPU per rank"));
  } else {
    CHECK_THROWS_WITH(make_world({.backend = "nccl", .launched = true}),
                      Contains("is not in this build"));
  }
}

TEST_CASE("the versions of the communication libraries are listed") {
  const auto versions = comm_versions();
  REQUIRE(versions.size() == 2);
  CHECK(versions[0].first == "MPI");
  CHECK((versions[0].second != "not built") == has_mpi());
  CHECK(versions[1].first == "NCCL");
  CHECK((versions[1].second != "not built") == has_nccl());
}
