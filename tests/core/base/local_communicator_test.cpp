#include "core/base/local_communicator.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <catch2/catch.hpp>

#include "core/base/error.h"

using namespace switchyard;
using Catch::Contains;

TEST_CASE("one process is rank 0 of 1, and its collectives copy") {
  const auto comm = make_local_communicator();
  CHECK(comm->rank() == 0);
  CHECK(comm->size() == 1);
  CHECK(comm->split(3, 5)->size() == 1);
  const at::Tensor numbers = at::arange(6, at::kFloat);
  SECTION("all_gather and reduce_scatter add and drop the dimension of ranks") {
    at::Tensor whole = at::zeros({1, 6}), part = at::zeros({6});
    comm->all_gather({whole}, {numbers})->wait();
    CHECK(at::equal(whole[0], numbers));
    comm->reduce_scatter({part}, {whole})->wait();
    CHECK(at::equal(part, numbers));
  }
  SECTION("all_to_all_v keeps its rows") {
    at::Tensor output = at::zeros({3, 2});
    comm->all_to_all_v({output}, {numbers.view({3, 2})}, {3}, {3})->wait();
    CHECK(at::equal(output.view({6}), numbers));
    at::Tensor fewer = at::zeros({2, 2});
    CHECK_THROWS_WITH(comm->all_to_all_v({fewer}, {numbers.view({3, 2})}, {2}, {3}),
                      Contains("3 rows go out and 2 are expected"));
  }
}

TEST_CASE("a process may write to itself") {
  const auto comm = make_local_communicator();
  at::Tensor number = at::full({2}, 7.0, at::kFloat), received = at::zeros({2});
  SECTION("and read later what it was when sent") {
    comm->send({number}, 0, 1)->wait();
    number.fill_(8);
    comm->receive({received}, 0, 1)->wait();
    CHECK(at::equal(received, at::full({2}, 7.0, at::kFloat)));
  }
  SECTION("but a message that nobody sent is an error, not a hang") {
    CHECK_THROWS_WITH(comm->receive({received}, 0, 2)->wait(), Contains("tag 2"));
  }
  SECTION("and sizes must agree") {
    comm->send({at::zeros({3})}, 0, 1)->wait();
    CHECK_THROWS_WITH(comm->receive({received}, 0, 1)->wait(), Contains("another size"));
  }
}
