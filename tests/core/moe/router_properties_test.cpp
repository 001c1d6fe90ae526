#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <set>

#include "core/base/counter_rng.h"
#include "core/base/partition.h"
#include "core/moe/options/router_traits.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/capacity_rules.h"
#include "tests/support/largest.h"
#include "tests/support/router_rules.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr int kCases = 2000;  // of each router
constexpr uint64_t kFirstSeed = 1000;
constexpr int64_t kVocabulary = 11;

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool one_in(int64_t n) { return below(n) == 0; }
  double between(double low, double high) { return low + (high - low) * to_uniform(random_()); }
  std::string one_of(const std::vector<std::string>& words) {
    return words[static_cast<size_t>(below(static_cast<int64_t>(words.size())))];
  }

 private:
  std::mt19937_64 random_;
};

struct Case {
  uint64_t seed = 0;
  int ranks = 2;
  MoEOptions moe;
  int64_t sequences = 0, length = 1;
  bool places = true;   // whether ranks ask for the place of each assignment
  RouterInputs inputs;  // of all tokens
  torch::Tensor bias_E, ids_T;
  RoutingContext context;

  int64_t tokens() const { return sequences * length; }
};

void draw_groups(Dice& dice, MoEOptions& moe) {
  std::vector<int64_t> divisors;
  for (int64_t n = 1; n <= moe.num_experts; ++n)
    if (moe.num_experts % n == 0) divisors.push_back(n);
  const int64_t groups = divisors[static_cast<size_t>(dice.below(std::ssize(divisors)))];
  const int64_t size = moe.num_experts / groups, least = (moe.top_k + size - 1) / size;
  moe.router.groups = groups;
  moe.router.kept_groups = least + dice.below(groups - least + 1);
}

void draw_router(Dice& dice, MoEOptions& moe) {
  RouterOptions& router = moe.router;
  const std::string& type = router.type;
  if (type == "top_k") {
    router.score = dice.one_of({"softmax", "sigmoid", "sqrtsoftplus"});
    router.normalize = moe.top_k > 1 && dice.one_in(2);
  }
  if (type == "top_k" || type == "deepseek_v2" || type == "deepseek_v3") draw_groups(dice, moe);
  router.pool = dice.one_of({"micro_batch", "sequence", "tokens"});
  router.pool_tokens = 1 + dice.below(8);
  router.table = dice.one_of({"random", "balanced", "bigram"});
  router.temperature = dice.between(0.5, 2);
  router.rounds = 1 + dice.below(8);
}

void draw_capacity(Dice& dice, MoEOptions& moe) {
  const RouterTraits traits = router_traits(moe.router, moe.top_k);
  if (!traits.takes_capacity || dice.one_in(2)) return;
  CapacityOptions& capacity = moe.capacity;
  capacity.factor = dice.between(0.2, 1.6);
  if (dice.one_in(4)) capacity.eval_factor = dice.between(0.2, 1.6);
  capacity.order = dice.one_of({"position", "probability", "batch_priority", "random"});
  capacity.scope = dice.one_of({"micro_batch", "sequence", "sequences"});
  capacity.scope_sequences = capacity.scope == "sequences" ? 1 + dice.below(3) : 0;
  capacity.min = dice.one_in(4) ? 2 : 0;
  if (traits.ranks_experts && dice.one_in(2)) capacity.overflow = "next_choice";
  capacity.renormalize = moe.top_k > 1 && dice.one_in(3);
}

// A third of the cases has many equal logits, half of them are fp32; some biases are large enough
// for negative keys.
void draw_inputs(Dice& dice, Case& c) {
  auto generator = at::detail::createCPUGenerator(c.seed);
  const int64_t T = c.tokens(), E = c.moe.num_experts;
  const bool rounded = dice.one_in(3);
  const auto type = dice.one_in(2) ? torch::kFloat : torch::kDouble;
  const auto normal = [&](at::IntArrayRef sizes, double size) {
    const auto values = size * at::randn(sizes, generator, torch::kDouble);
    return (rounded ? values.round() : values).to(type);
  };
  const int64_t columns = c.moe.router.type == "hierarchical" ? 2 + E : E;
  c.inputs.logits_TE = normal({T, columns}, 2);
  c.inputs.dtype = type;
  if (c.moe.router.type == "noisy_top_k" && dice.one_in(2))
    c.inputs.noise_logits_TE = normal({T, E}, 2);
  c.ids_T = at::randint(kVocabulary, {T}, generator, torch::kLong);
  if (!router_traits(c.moe.router, c.moe.top_k).takes_bias || dice.one_in(2)) return;
  c.bias_E = at::randn({E}, generator, torch::kDouble).mul(dice.one_in(2) ? 0.1 : 1).to(type);
  c.moe.bias.type = dice.one_of({"sign", "multiplicative"});
  if (c.moe.bias.multiplies()) c.bias_E = 1 + c.bias_E.clamp(-0.5, 0.5);
}

Case make_case(const std::string& type, uint64_t seed) {
  Dice dice(seed);
  Case c;
  c.seed = seed;
  c.ranks = 2 + static_cast<int>(dice.below(3));
  const int64_t experts = type == "hierarchical" ? 2 * (1 + dice.below(5)) : 2 + dice.below(9);
  c.moe = valid_options(type, experts, 1 + dice.below(experts));
  c.moe.balance = {};
  draw_router(dice, c.moe);
  draw_capacity(dice, c.moe);
  c.sequences = dice.below(7);  // fewer than ranks: some have no tokens
  c.length = 1 + dice.below(5);
  c.places = dice.one_in(2);
  draw_inputs(dice, c);
  c.context = training_context();
  c.context.training = dice.one_in(2);
  c.context.sequence_length = c.length;
  validate(c.moe);
  return c;
}

struct Routed {
  RoutingDecision selected, seated;  // before and after the capacity
};

torch::Tensor rows_of(const torch::Tensor& all, int64_t first, int64_t count) {
  return all.defined() ? all.narrow(0, first, count) : all;
}

Routed route_block(const Case& c, int rank, int ranks, Communicator* comm) {
  const Share block = block_of(rank, ranks, c.sequences);
  const int64_t first = block.first * c.length, count = block.count * c.length;
  RoutingContext context = c.context;
  context.communicator = comm;
  context.first_token = first;
  context.places = ranks == 1 || c.places;
  context.token_ids_T = rows_of(c.ids_T, first, count);
  RouterInputs inputs = c.inputs;
  inputs.logits_TE = rows_of(inputs.logits_TE, first, count);
  inputs.noise_logits_TE = rows_of(inputs.noise_logits_TE, first, count);
  const RouterResources resources{kVocabulary, torch::arange(kVocabulary).flip(0)};
  const auto router = make_router(c.moe, resources);
  Routed routed;
  routed.selected = router->decide(inputs, c.bias_E, context);
  routed.seated = routed.selected;
  apply_capacity(c.moe.capacity, c.moe, context, routed.seated, router.get());
  return routed;
}

// What an expert weighs before any normalisation, [T, E] in fp64, by the router's formula.
torch::Tensor gates_of(const Case& c, const RoutingDecision& d) {
  const std::string& type = c.moe.router.type;
  const auto x = c.inputs.logits_TE.to(torch::kDouble);
  const int64_t T = x.size(0), E = c.moe.num_experts;
  if (type == "hash")
    return torch::full({T, E}, 1.0 / static_cast<double>(c.moe.top_k), x.options());
  if (type == "relu") return x.clamp_min(0);
  if (type == "noisy_top_k") return torch::softmax(d.ranking_TE.to(torch::kDouble), 1);
  const bool by_logit = type == "base" || (type == "sinkhorn" && c.moe.top_k == 1);
  if (by_logit || type == "deepseek_v3" || c.moe.router.score == "sigmoid")
    return torch::sigmoid(x);
  if (c.moe.router.score == "sqrtsoftplus") return torch::log1p(x.exp()).sqrt();
  if (type != "hierarchical") return torch::softmax(x, 1);
  const int64_t size = E / 2;
  const auto outer = torch::softmax(x.narrow(1, 0, 2), 1).repeat_interleave(size, 1);
  const auto inner = torch::softmax(x.narrow(1, 2, E).reshape({T, 2, size}), 2);
  return outer * inner.reshape({T, E});
}

// The combine weights of the experts that each token ended with.
torch::Tensor expected_weights(const Case& c, const Routed& routed) {
  const std::string& type = c.moe.router.type;
  const auto none_TK = routed.seated.expert_ids_TK.lt(0);
  const auto gates_TE = gates_of(c, routed.selected);
  const auto at_ids = [&](const torch::Tensor& ids) {
    return gates_TE.gather(1, ids.clamp_min(0));
  };
  auto weights_TK = at_ids(routed.seated.expert_ids_TK).masked_fill(none_TK, 0);
  if (router_traits(c.moe.router, c.moe.top_k).normalises ||
      (type == "gumbel" && c.moe.top_k > 1)) {
    auto sum_T1 = weights_TK.sum(1, true);
    if (type == "gshard") {  // a second expert that chance refused counts in the sum
      const auto order_TE = std::get<1>(torch::sort(routed.selected.ranking_TE, true, 1, true));
      sum_T1 =
          torch::where(none_TK.any(1, true), at_ids(order_TE.narrow(1, 0, 2)).sum(1, true), sum_T1);
    }
    weights_TK = weights_TK / sum_T1;
  }
  if (!c.moe.capacity.renormalize) return weights_TK;
  const auto kept_TK = weights_TK.masked_fill(~routed.seated.kept_TK, 0);
  return torch::where(routed.seated.kept_TK, kept_TK / kept_TK.sum(1, true), weights_TK);
}

struct Differences {
  Largest fp64, fp32;
};

std::string broken_weights(const Case& c, const Routed& routed, Differences& differences) {
  if (c.tokens() == 0) return "";
  const RoutingDecision& d = routed.seated;
  const auto apart_TK = (d.weights_TK.to(torch::kDouble) - expected_weights(c, routed)).abs();
  const double apart = apart_TK.max().item<double>();
  const bool exact = d.weights_TK.scalar_type() == torch::kDouble;
  (exact ? differences.fp64 : differences.fp32).see(apart);
  if (!(apart <= (exact ? 1e-14 : 2e-6))) return "weights are not those of the formula";

  static const std::set<std::string> kByScore = {
      "switch", "top_k", "deepseek_moe", "deepseek_v2", "expert_choice", "relu", "soft"};
  const bool shares =
      router_traits(c.moe.router, c.moe.top_k).normalises || c.moe.capacity.renormalize;
  if (kByScore.count(c.moe.router.type) == 0 || shares) return "";
  const auto scores_TK = d.scores_TE.gather(1, d.expert_ids_TK.clamp_min(0));
  const bool same = d.weights_TK.equal(scores_TK.masked_fill(d.expert_ids_TK.lt(0), 0));
  return same ? "" : "weights are not the scores";
}

std::string broken_promise(const Case& c, const Routed& routed, Differences& differences) {
  std::string problem = RouterRules(c.moe, c.context, c.inputs, c.bias_E, routed.selected).broken();
  if (problem.empty())
    problem = CapacityRules(c.moe, c.context, routed.selected, routed.seated).broken();
  if (problem.empty()) problem = broken_weights(c, routed, differences);
  return problem;
}

// Everything that ranks must agree on, −1 and 0 in the columns that only other tokens need.
using Outcome = std::map<std::string, torch::Tensor>;

Outcome outcome(const Case& c, const RoutingDecision& d) {
  const int64_t missing = c.moe.num_experts - d.expert_ids_TK.size(1);
  const auto wide = [&](const torch::Tensor& columns_TK, double empty) {
    return torch::constant_pad_nd(columns_TK, {0, missing}, empty);
  };
  Outcome all = {{"experts", wide(d.expert_ids_TK, -1)},
                 {"selection", wide(d.selected_TK, -1)},
                 {"kept", wide(d.kept_TK, 0)},
                 {"weights", wide(d.weights_TK, 0)}};
  if (d.slot_TK.defined()) all["slots"] = wide(d.slot_TK, -1);
  return all;
}

// "", or what of `all` differs, bit for bit, from the rows that begin at `first`.
std::string apart(const Outcome& part, const Outcome& all, int64_t first) {
  for (const auto& [name, tensor] : part)
    if (!all.at(name).narrow(0, first, tensor.size(0)).equal(tensor)) return name;
  return "";
}

// Of each rank what differs first from the decision of one process alone.
std::vector<std::string> first_apart(const std::vector<Case>& cases,
                                     const std::vector<Outcome>& alone, int ranks) {
  std::vector<std::string> found(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Communicator& world) {
    std::string& mine = found[static_cast<size_t>(world.rank())];
    for (size_t i = 0; i < cases.size(); ++i) {
      const Case& c = cases[i];
      if (c.ranks != ranks) continue;
      const Outcome got = outcome(c, route_block(c, world.rank(), ranks, &world).seated);
      const Share block = block_of(world.rank(), ranks, c.sequences);
      const std::string name = apart(got, alone[i], block.first * c.length);
      if (mine.empty() && !name.empty()) mine = fmt::format("seed {}: {}", c.seed, name);
    }
  });
  return found;
}

}  // namespace

TEST_CASE(
    "properties: every router, 2,000 random cases each, keeps its rules and its capacity, the same "
    "bits on 1 to 4 ranks") {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // so few tokens would only make threads wait for each other
  Differences differences;
  for (const auto& type : router_types()) {
    std::vector<Case> cases;
    std::vector<Outcome> alone;
    int64_t limited = 0, dropped = 0, moved = 0;
    for (uint64_t seed = kFirstSeed; seed < kFirstSeed + kCases; ++seed) {
      const Case& c = cases.emplace_back(make_case(type, seed));
      const Routed routed = route_block(c, 0, 1, nullptr);
      alone.push_back(outcome(c, routed.seated));
      std::string problem = broken_promise(c, routed, differences);
      const Outcome again = outcome(c, route_block(c, 0, 1, nullptr).seated);
      if (problem.empty() && !apart(again, alone.back(), 0).empty())
        problem = "a second call decides otherwise";
      if (!problem.empty()) FAIL_CHECK(type << ", seed " << seed << ": " << problem);
      const RoutingDecision& d = routed.seated;
      limited += c.moe.capacity.factor_in(c.context.training).has_value();
      dropped += (d.expert_ids_TK.ge(0).logical_and(~d.kept_TK)).sum().item<int64_t>();
      moved += d.expert_ids_TK.ne(d.selected_TK).sum().item<int64_t>();
    }
    for (const int ranks : {2, 3, 4})
      for (const std::string& problem : first_apart(cases, alone, ranks))
        if (!problem.empty())
          FAIL_CHECK(type << ", " << problem << " differ on " << ranks << " ranks");
    const RouterTraits traits = router_traits(cases[0].moe.router, cases[0].moe.top_k);
    CHECK((dropped > 500) == traits.takes_capacity);
    CHECK((moved > 100) == traits.ranks_experts);
    std::cout << "properties: " << type << ", seeds " << kFirstSeed << " to "
              << kFirstSeed + kCases - 1 << ", " << limited << " with a capacity, " << dropped
              << " assignments dropped, " << moved << " moved\n";
  }
  at::set_num_threads(threads);
  differences.fp64.print("properties: weights in fp64 against their formulas");
  differences.fp32.print("properties: weights in fp32 against their formulas");
}
