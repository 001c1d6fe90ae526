#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/moe/capacity.h"
#include "core/moe/routers/router.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/expect.h"
#include "tests/support/routing.h"

// The keys of assignments travel only where an expert has more of them than seats, unless places
// are asked for.

namespace switchyard {
namespace {

TEST_CASE("Without places the same assignments are kept, on any number of ranks") {
  const std::string order = GENERATE("position", "probability", "batch_priority", "random");
  const std::string overflow = GENERATE("drop", "next_choice");
  const std::string scope = GENERATE("micro_batch", "sequence", "sequences");
  const int ranks = GENERATE(1, 3);
  MoEOptions moe;
  moe.num_experts = 6, moe.top_k = 2;
  moe.capacity = {.factor = 1.0, .order = order, .overflow = overflow, .scope = scope};
  moe.capacity.scope_sequences = 2;
  INFO(order << ", " << overflow << ", " << scope << ", " << ranks << " ranks");
  at::manual_seed(3);
  constexpr int64_t kSequences = 6, kLength = 8;
  const at::Tensor logits_TE = at::randn({kSequences * kLength, 6}, at::kDouble) * 2;
  const auto router = make_router(moe);
  run_ranks(ranks, [&](Communicator& comm) {
    const int64_t share = kSequences / ranks * kLength;
    RoutingContext context;
    context.training = true;
    context.sequence_length = kLength;
    context.first_token = comm.rank() * share;
    context.communicator = &comm;
    RouterInputs inputs;
    inputs.logits_TE = logits_TE.narrow(0, context.first_token, share);
    RoutingDecision with = router->decide(inputs, {}, context);
    RoutingDecision without = with;
    apply_capacity(moe.capacity, moe, context, with, router.get());
    context.places = false;
    apply_capacity(moe.capacity, moe, context, without, router.get());
    EXPECT(at::equal(with.kept_TK, without.kept_TK));
    EXPECT(at::equal(with.expert_ids_TK, without.expert_ids_TK));
    EXPECT(at::equal(with.weights_TK, without.weights_TK));
    EXPECT(at::equal(with.kept_TK, with.slot_TK.ge(0)));
    EXPECT(!without.slot_TK.defined());
    EXPECT(ranks > 1 || overflow == "next_choice" || !with.kept_TK.all().item<bool>());
  });
}

/// Another communicator, of whose gathers the rows in fp64 are counted: keys are nothing else.
class CountingKeys final : public Communicator {
 public:
  explicit CountingKeys(Communicator& comm) : comm_(comm) {}

  int64_t keys() const { return keys_; }

  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }
  std::string backend() const override { return comm_.backend(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return comm_.split(color, key);
  }
  void barrier() override { comm_.barrier(); }
  WorkPtr broadcast(Tensors tensors, int root) override {
    return comm_.broadcast(std::move(tensors), root);
  }
  WorkPtr all_reduce(Tensors tensors, ReduceOp op) override {
    return comm_.all_reduce(std::move(tensors), op);
  }
  WorkPtr all_gather(Tensors outputs, Tensors inputs) override {
    for (const at::Tensor& input : inputs)
      if (input.scalar_type() == at::kDouble) keys_ += input.size(0);
    return comm_.all_gather(std::move(outputs), std::move(inputs));
  }
  WorkPtr reduce_scatter(Tensors outputs, Tensors inputs) override {
    return comm_.reduce_scatter(std::move(outputs), std::move(inputs));
  }
  WorkPtr all_to_all_v(Tensors outputs, Tensors inputs, std::vector<int64_t> receive_rows,
                       std::vector<int64_t> send_rows) override {
    return comm_.all_to_all_v(std::move(outputs), std::move(inputs), std::move(receive_rows),
                              std::move(send_rows));
  }
  WorkPtr send(Tensors tensors, int to, int tag) override {
    return comm_.send(std::move(tensors), to, tag);
  }
  WorkPtr receive(Tensors tensors, int from, int tag) override {
    return comm_.receive(std::move(tensors), from, tag);
  }

 private:
  Communicator& comm_;
  int64_t keys_ = 0;
};

TEST_CASE("Without places the keys of experts with room do not travel") {
  MoEOptions moe = test::router_options("switch", 4, 1);
  moe.capacity.factor = 1.0;  // 3 seats for 12 tokens
  moe.capacity.order = GENERATE("probability", "batch_priority", "random");
  INFO(moe.capacity.order);
  // Six tokens want expert 0, three on each rank; the others have room for all.
  const at::Tensor wanted_T = at::tensor({0, 1, 0, 1, 0, 2, 3, 0, 2, 0, 1, 0}, at::kLong);
  const at::Tensor logits_TE = at::one_hot(wanted_T, 4).to(at::kDouble);
  const auto router = make_router(moe);
  run_ranks(2, [&](Communicator& comm) {
    for (const bool places : {true, false}) {
      CountingKeys counted(comm);
      RoutingContext context;
      context.training = true;
      context.sequence_length = 6;
      context.first_token = comm.rank() * 6;
      context.communicator = &counted;
      context.places = places;
      RoutingDecision decision =
          router->decide({logits_TE.narrow(0, context.first_token, 6), {}, {}}, {}, context);
      apply_capacity(moe.capacity, moe, context, decision);
      EXPECT(counted.keys() == (places ? 6 : 3), "{} keys", counted.keys());
    }
  });
}

TEST_CASE("Capacity factors and group sizes beyond any count mean room for all") {
  CHECK(expert_capacity(1e30, 2, 64, 4, 0) >= 128);
  MoEOptions moe;
  moe.num_experts = 4, moe.top_k = 1;
  moe.router.type = "switch";
  moe.capacity = {.factor = 1.0, .scope = "sequences"};
  moe.capacity.scope_sequences = int64_t{1} << 62;
  RoutingContext context;
  context.training = true;
  context.sequence_length = 4;
  RouterInputs inputs;
  inputs.logits_TE = at::zeros({8, 4}, at::kDouble);
  const auto router = make_router(moe);
  RoutingDecision decision = router->decide(inputs, {}, context);
  apply_capacity(moe.capacity, moe, context, decision);
  CHECK(decision.kept_TK.sum().item<int64_t>() == 2);  // one group of 8 tokens, 2 seats each
}

}  // namespace
}  // namespace switchyard
