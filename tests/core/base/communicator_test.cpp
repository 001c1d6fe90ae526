#include "core/base/communicator.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"

using namespace switchyard;

// Several ranks meet in tests/parallel/comm; here the same functions serve one process.

TEST_CASE("rows, texts and errors of one process come back as they are") {
  const auto comm = make_local_communicator();
  const at::Tensor rows = at::arange(6, at::kLong).view({3, 2});
  CHECK(at::equal(gather_rows(*comm, rows), rows));
  CHECK(gather_rows(*comm, at::zeros({0, 2})).size(0) == 0);
  CHECK_THROWS_AS(gather_rows(*comm, at::zeros({})), InternalError);
  CHECK(broadcast_text(*comm, "words") == "words");
  CHECK_NOTHROW(agree_on_error(*comm, "", 4));
  try {
    agree_on_error(*comm, "[io] disk full", 4);
    FAIL("the error was swallowed");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "[io] disk full");
    CHECK(error.code() == ExitCode::kIoFailure);
  }
}

TEST_CASE("a finished handle may be waited for any number of times") {
  const WorkPtr work = finished_work();
  CHECK_NOTHROW(work->wait());
  CHECK_NOTHROW(work->wait());
}
