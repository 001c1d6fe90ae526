#include "parallel/comm/message_plan.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <catch2/catch.hpp>
#include <deque>
#include <map>

using namespace switchyard;

namespace {

/// Carries the plans of all ranks, stage by stage, and counts the bytes that each rank sends.
std::vector<int64_t> carry(std::vector<Stages> plans) {
  std::vector<int64_t> bytes(plans.size(), 0);
  size_t num_stages = 0;
  for (const Stages& plan : plans) num_stages = std::max(num_stages, plan.size());
  for (size_t s = 0; s < num_stages; ++s) {
    std::map<std::pair<int, int>, std::deque<at::Tensor>> wire;  // by (from, to)
    for (size_t rank = 0; rank < plans.size(); ++rank) {
      for (const Message& message : plans[rank].at(s).sends) {
        REQUIRE(message.peer != static_cast<int>(rank));
        REQUIRE(message.data.is_contiguous());
        wire[{static_cast<int>(rank), message.peer}].push_back(message.data.clone());
        bytes[rank] += static_cast<int64_t>(message.data.nbytes());
      }
    }
    for (size_t rank = 0; rank < plans.size(); ++rank) {
      for (const Message& message : plans[rank].at(s).receives) {
        auto& queue = wire[{message.peer, static_cast<int>(rank)}];
        REQUIRE(!queue.empty());
        REQUIRE(queue.front().sizes() == message.data.sizes());
        message.data.copy_(queue.front());
        queue.pop_front();
      }
    }
    for (const auto& [route, queue] : wire) REQUIRE(queue.empty());
    for (const Stages& plan : plans) {
      if (plan.at(s).then) plan.at(s).then();
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("an all-reduce of a large tensor moves 2(N-1)/N of it per rank") {
  const int ranks = GENERATE(2, 3, 4, 7);
  const int64_t numel = 210'000;  // a multiple of all of them
  std::vector<at::Tensor> tensors;
  std::vector<Stages> plans;
  for (int r = 0; r < ranks; ++r) {
    tensors.push_back(at::arange(numel, at::kDouble).mul(r + 1));
    plans.push_back(plan_all_reduce({r, ranks}, {tensors.back()}, ReduceOp::kSum));
  }
  for (const int64_t bytes : carry(plans)) CHECK(bytes == 2 * (ranks - 1) * numel / ranks * 8);
  const at::Tensor expected = at::arange(numel, at::kDouble).mul(ranks * (ranks + 1) / 2);
  for (const auto& tensor : tensors) CHECK(at::equal(tensor, expected));
}

TEST_CASE("an all-reduce of a small tensor has one exchange") {
  std::vector<at::Tensor> tensors;
  std::vector<Stages> plans;
  for (int r = 0; r < 3; ++r) {
    tensors.push_back(at::full({5}, r, at::kLong));
    plans.push_back(plan_all_reduce({r, 3}, {tensors.back()}, ReduceOp::kMax));
    CHECK(plans.back()[1].sends.empty());
  }
  carry(plans);
  for (const auto& tensor : tensors) CHECK(at::equal(tensor, at::full({5}, 2, at::kLong)));
}

TEST_CASE("a broadcast of a large tensor moves 2(N-1)/N of it from the root") {
  const int64_t numel = 120'000;
  std::vector<at::Tensor> tensors;
  std::vector<Stages> plans;
  for (int r = 0; r < 4; ++r) {
    tensors.push_back(r == 2 ? at::arange(numel, at::kFloat) : at::zeros({numel}));
    plans.push_back(plan_broadcast({r, 4}, {tensors.back()}, 2));
  }
  const auto bytes = carry(plans);
  CHECK(bytes[2] == 2 * 3 * numel / 4 * 4);
  for (const auto& tensor : tensors) CHECK(at::equal(tensor, at::arange(numel, at::kFloat)));
}

TEST_CASE("a group of one rank sends nothing") {
  const at::Tensor tensor = at::arange(100'000, at::kFloat), whole = at::zeros({1, 100'000});
  CHECK(carry({plan_all_reduce({0, 1}, {tensor}, ReduceOp::kSum)})[0] == 0);
  CHECK(carry({plan_broadcast({0, 1}, {tensor}, 0)})[0] == 0);
  CHECK(carry({plan_all_gather({0, 1}, {whole}, {tensor})})[0] == 0);
  CHECK(at::equal(whole[0], tensor));
}
