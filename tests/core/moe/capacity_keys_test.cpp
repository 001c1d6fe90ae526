#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <string>

#include "core/base/error.h"
#include "core/moe/capacity.h"
#include "core/moe/routers/router.h"
#include "parallel/comm/thread_communicator.h"
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
    SWITCHYARD_CHECK(at::equal(with.kept_TK, without.kept_TK));
    SWITCHYARD_CHECK(at::equal(with.expert_ids_TK, without.expert_ids_TK));
    SWITCHYARD_CHECK(at::equal(with.weights_TK, without.weights_TK));
    SWITCHYARD_CHECK(at::equal(with.kept_TK, with.slot_TK.ge(0)));
    SWITCHYARD_CHECK(!without.slot_TK.defined());
    SWITCHYARD_CHECK(ranks > 1 || overflow == "next_choice" || !with.kept_TK.all().item<bool>());
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
