#include <catch2/catch.hpp>
#include <iostream>

#include "core/base/counter_rng.h"
#include "core/base/partition.h"
#include "core/moe/bias.h"
#include "core/moe/capacity.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/capacity_rules.h"

using namespace switchyard;

namespace {

constexpr uint64_t kSeed = 20260;

// Integers that depend on the case alone.
class Dice {
 public:
  explicit Dice(uint64_t number) : number_(number) {}
  int64_t below(int64_t n) {
    return static_cast<int64_t>(hash({kSeed, number_, next_++}) % static_cast<uint64_t>(n));
  }
  double between(double low, double high) {
    return low + (high - low) * uniform({kSeed, number_, next_++});
  }

 private:
  uint64_t number_, next_ = 0;
};

struct Case {
  MoEOptions moe;
  int64_t sequences = 1, length = 1;
  torch::Tensor logits_TE, bias_E;
  RoutingContext context;
};

Case make_case(uint64_t number) {
  static const char* const kOrders[] = {"position", "probability", "batch_priority", "random"};
  static const char* const kScopes[] = {"micro_batch", "sequence", "sequences"};
  Dice dice(number);
  Case c;
  CapacityOptions& capacity = c.moe.capacity;
  capacity.order = kOrders[number % 4];
  capacity.overflow = number / 4 % 2 == 0 ? "drop" : "next_choice";
  capacity.scope = kScopes[number / 8 % 3];
  capacity.scope_sequences = capacity.scope == "sequences" ? 1 + dice.below(3) : 0;
  capacity.factor = dice.between(0.2, 1.6);
  capacity.min = dice.below(4) == 0 ? 2 : 0;
  const int64_t groups = dice.below(3) == 0 ? 2 : 1;
  c.moe.num_experts = groups * (1 + dice.below(4));
  c.moe.top_k = 1 + dice.below(std::min<int64_t>(3, c.moe.num_experts / groups));
  c.moe.router.groups = groups;
  c.moe.router.normalize = c.moe.top_k > 1 && dice.below(2) == 0;
  if (c.moe.top_k == 2 && dice.below(2) == 0) {
    c.moe.router = {};
    c.moe.router.type = "gshard";
  }
  capacity.renormalize = c.moe.top_k > 1 && dice.below(3) == 0;
  c.sequences = 1 + dice.below(6);
  c.length = 1 + dice.below(5);
  std::vector<double> logits;
  const bool ties = dice.below(4) == 0;  // coarse logits give equal keys
  for (int64_t i = 0; i < c.sequences * c.length * c.moe.num_experts; ++i)
    logits.push_back(ties ? static_cast<double>(dice.below(3)) : dice.between(-3, 3));
  c.logits_TE =
      torch::tensor(logits, torch::kFloat).reshape({c.sequences * c.length, c.moe.num_experts});
  if (dice.below(2) == 0) c.bias_E = c.logits_TE[0] * 0.1;
  c.context.seed = number;
  c.context.step = 3;
  c.context.layer = 1;
  c.context.sequence_length = c.length;
  c.context.training = dice.below(4) > 0;
  return c;
}

struct Routed {
  RoutingDecision selected, seated;  // before and after the capacity
};

Routed decide(const Case& c, int64_t first_sequence, int64_t sequences, Communicator* comm) {
  RoutingContext context = c.context;
  context.communicator = comm;
  context.first_token = first_sequence * c.length;
  const auto router = make_router(c.moe);
  Routed routed;
  routed.selected = router->decide(
      {c.logits_TE.narrow(0, context.first_token, sequences * c.length).contiguous(), {}, {}},
      c.bias_E, context);
  routed.seated = routed.selected;
  apply_capacity(c.moe.capacity, c.moe, context, routed.seated, router.get());
  return routed;
}

std::string broken_rule(const Case& c, const Routed& routed) {
  return test::CapacityRules(c.moe, c.context, routed.selected, routed.seated).broken();
}

void check_ranks(const Case& c, const RoutingDecision& one, int ranks) {
  run_ranks(ranks, [&](Communicator& world) {
    const Share block = block_of(world.rank(), ranks, c.sequences);
    const RoutingDecision mine = decide(c, block.first, block.count, &world).seated;
    const auto equal = [&](const torch::Tensor& all, const torch::Tensor& part) {
      return all.narrow(0, block.first * c.length, block.count * c.length).equal(part);
    };
    // Catch's macros are for one thread.
    if (!equal(one.expert_ids_TK, mine.expert_ids_TK) || !equal(one.kept_TK, mine.kept_TK) ||
        !equal(one.slot_TK, mine.slot_TK) || !equal(one.weights_TK, mine.weights_TK))
      throw std::runtime_error("a rank's decision differs");
  });
}

}  // namespace

TEST_CASE("properties: capacities hold, refusals add up, ranks agree bit for bit") {
  int64_t refused = 0, moved = 0;
  for (uint64_t number = 0; number < 2000; ++number) {
    const Case c = make_case(number);
    CAPTURE(kSeed, number, c.moe.capacity.order, c.moe.capacity.overflow, c.moe.capacity.scope);
    const Routed routed = decide(c, 0, c.sequences, nullptr);
    REQUIRE(broken_rule(c, routed) == "");
    const RoutingDecision& one = routed.seated;
    const RoutingDecision again = decide(c, 0, c.sequences, nullptr).seated;
    REQUIRE(again.slot_TK.equal(one.slot_TK));
    REQUIRE(again.weights_TK.equal(one.weights_TK));
    REQUIRE_NOTHROW(check_ranks(c, one, 2 + static_cast<int>(number / 24 % 3)));
    refused += one.counts_E.sum().item<int64_t>() - one.kept_TK.sum().item<int64_t>();
    moved += one.expert_ids_TK.ne(one.selected_TK).sum().item<int64_t>();
  }
  CHECK(refused > 1000);
  CHECK(moved > 500);
  std::cout << "properties: capacity, 2000 cases of seed " << kSeed << ": " << refused
            << " assignments refused, " << moved << " moved\n";
}

TEST_CASE("properties: every order, overflow and scope on one to four ranks, some without tokens") {
  for (uint64_t number = 0; number < 24; ++number) {
    Case c = make_case(number + 24000);
    CAPTURE(kSeed, number);
    c.sequences = 3;
    c.length = c.context.sequence_length = 4;
    c.logits_TE = torch::linspace(-1, 1, 12 * c.moe.num_experts)
                      .reshape({12, c.moe.num_experts})
                      .mul(37)
                      .sin();
    const Routed routed = decide(c, 0, c.sequences, nullptr);
    REQUIRE(broken_rule(c, routed) == "");
    for (const int ranks : {1, 2, 3, 4}) REQUIRE_NOTHROW(check_ranks(c, routed.seated, ranks));
  }
}

TEST_CASE("properties: a micro-batch without a token seats nobody, on one to four ranks") {
  for (uint64_t number = 0; number < 24; ++number) {
    Case c = make_case(number + 24000);
    CAPTURE(kSeed, number, c.moe.capacity.order, c.moe.capacity.overflow, c.moe.capacity.scope);
    c.sequences = 0;
    c.logits_TE = c.logits_TE.narrow(0, 0, 0);
    const Routed routed = decide(c, 0, 0, nullptr);
    CHECK(broken_rule(c, routed) == "");
    for (const int ranks : {2, 3, 4}) CHECK_NOTHROW(check_ranks(c, routed.seated, ranks));
  }
}

TEST_CASE("properties: the quantile bias is exact on any number of ranks") {
  for (uint64_t number = 0; number < 50; ++number) {
    Dice dice(number + 5000);
    const int64_t T = 1 + dice.below(30), E = 2 + dice.below(6);
    const int64_t K = 1 + dice.below(E - 1);
    std::vector<double> values;
    for (int64_t i = 0; i < T * E; ++i) values.push_back(dice.between(0, 1));
    const auto s_TE = torch::tensor(values, torch::kDouble).reshape({T, E});
    CAPTURE(kSeed, number, T, E, K);
    BiasOptions options;
    options.type = "quantile";
    BiasState expected = make_bias_state(options, E);
    expected.bias_E = expected.bias_E.to(torch::kDouble);
    // By sorting: minus the (⌊TK/E⌋ + 1)-th largest of each column, less the mean.
    const auto keys = std::get<0>(torch::sort(s_TE, 1, true));
    const auto sorted = std::get<0>(torch::sort(s_TE - keys.narrow(1, K, 1), 0, true));
    expected.bias_E = -sorted[T * K / E];
    expected.bias_E = expected.bias_E - expected.bias_E.mean();
    for (const int ranks : {1, 2, 3, 4})
      REQUIRE_NOTHROW(run_ranks(ranks, [&](Communicator& world) {
        const Share block = block_of(world.rank(), ranks, T);
        BiasState state = make_bias_state(options, E);
        state.bias_E = state.bias_E.to(torch::kDouble);
        BiasStep step;
        step.top_k = K;
        step.communicator = &world;
        step.margins = {quantile_margins(s_TE.narrow(0, block.first, block.count), {}, K)};
        update_bias(options, step, state);
        if (!state.bias_E.equal(expected.bias_E)) throw std::runtime_error("the bias differs");
      }));
  }
}
