#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <functional>
#include <mutex>

#include "core/base/partition.h"
#include "core/moe/moe_layer.h"
#include "parallel/comm/thread_communicator.h"
#include "parallel/expert/all_to_all_dispatcher.h"
#include "tests/support/largest.h"
#include "tests/support/reference_moe.h"

// The whole layer (router → capacity → dispatch → experts → combine) against the loop over tokens,
// in fp64, with the batch split over 1, 2, 4 and 5 ranks.

using namespace switchyard;
using test::Largest;

namespace {

constexpr int64_t kHidden = 6, kWidth = 5, kLength = 3;

struct Case {
  std::string name;
  MoEOptions moe;
  int64_t sequences = 7;
  bool training = true;
  std::vector<double> bias;
};

MoEOptions moe_options(const std::string& router, int64_t experts, int64_t k) {
  MoEOptions moe;
  moe.router.type = router;
  moe.num_experts = experts;
  moe.top_k = k;
  moe.expert_dim = kWidth;
  return moe;
}

MoEOptions with_capacity(MoEOptions moe, const std::string& order, const std::string& scope,
                         bool renormalize = false) {
  moe.capacity.factor = 0.5;
  moe.capacity.eval_factor = 1.0;
  moe.capacity.order = order;
  moe.capacity.scope = scope;
  moe.capacity.renormalize = renormalize;
  return moe;
}

// Routers that are no plain top-k of scores.
void add_own_rules(const std::function<void(const std::string&, MoEOptions)>& add) {
  auto v2 = moe_options("deepseek_v2", 6, 2);
  v2.router.groups = 3;
  v2.router.kept_groups = 2;
  v2.router.scale = 16;
  add("deepseek_v2 with groups and scale", v2);
  auto noisy = moe_options("noisy_top_k", 5, 2);
  noisy.router.init = 0.5;
  add("noisy_top_k", noisy);
  add("noisy_top_k capacity probability", with_capacity(noisy, "probability", "micro_batch"));
  for (const int64_t k : {1, 3}) {
    auto gumbel = moe_options("gumbel", 5, k);
    gumbel.router.temperature = 0.7;
    add("gumbel top-" + std::to_string(k), gumbel);
  }
  auto hierarchical = moe_options("hierarchical", 6, 2);
  hierarchical.router.branches = {2, 3};
  hierarchical.router.kept = {1, 2};
  add("hierarchical, one group", hierarchical);
  hierarchical.router.kept = {2, 1};
  add("hierarchical, two groups", hierarchical);
  add("soft", moe_options("soft", 4, 4));
  add("relu", moe_options("relu", 5, 2));
}

template <class Add>
void add_next_choice(const std::string& order, const Add& add) {
  for (const std::string router : {"switch", "mixtral", "gshard", "top_k"})
    for (const bool renormalize : {false, true}) {
      const int64_t k = router == "switch" ? 1 : 2;
      if (k == 1 && renormalize) continue;
      auto moe = with_capacity(moe_options(router, 5, k), order, "sequences", renormalize);
      moe.capacity.factor = 0.9;
      moe.capacity.scope_sequences = 3;
      moe.capacity.overflow = "next_choice";
      add(router + " next_choice " + order + (renormalize ? " renormalised" : ""), moe);
    }
}

// Routers that assign a batch, and those that look at the token alone.
void add_assignments(std::vector<Case>& cases) {
  for (const auto* pool : {"micro_batch", "sequence", "tokens"}) {
    auto choice = moe_options("expert_choice", 4, 2);
    choice.router.pool = pool;
    choice.router.pool_tokens = 4;
    cases.push_back({std::string("expert_choice, pool ") + pool, choice});
  }
  auto base = moe_options("base", 5, 1);
  cases.push_back({"base", base});
  cases.push_back({"base in evaluation", base});
  cases.back().training = false;
  for (const int64_t k : {1, 2})
    cases.push_back({"sinkhorn top-" + std::to_string(k), moe_options("sinkhorn", 5, k)});
  for (const auto* table : {"random", "balanced", "bigram"}) {
    auto hash = moe_options("hash", 5, 2);
    hash.router.table = table;
    cases.push_back({std::string("hash ") + table, hash});
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  auto add = [&](const std::string& name, MoEOptions moe) { cases.push_back({name, moe}); };
  add("switch", moe_options("switch", 5, 1));
  auto jittered = moe_options("switch", 5, 1);
  jittered.router.jitter = 0.1;
  add("switch with jitter", jittered);
  add("switch with jitter, evaluation", jittered);
  cases.back().training = false;
  add("gshard", moe_options("gshard", 5, 2));
  add("mixtral", moe_options("mixtral", 5, 2));
  add("deepseek_moe", moe_options("deepseek_moe", 7, 3));
  for (const auto* score : {"softmax", "sigmoid", "sqrtsoftplus"})
    for (const bool normalize : {false, true}) {
      auto moe = moe_options("top_k", 6, 2);
      moe.router.score = score;
      moe.router.normalize = normalize;
      moe.router.groups = 3;
      moe.router.kept_groups = 2;
      add(std::string("top_k ") + score + (normalize ? " normalised" : ""), moe);
    }
  auto v3 = moe_options("deepseek_v3", 8, 3);
  v3.router.groups = 4;
  v3.router.kept_groups = 2;
  v3.router.scale = 2.5;
  v3.shared_experts = 1;
  v3.bias.type = "sign";
  add("deepseek_v3 with groups, scale, bias and a shared expert", v3);
  cases.back().bias = {0.3, -0.9, 0.1, 0.0, -0.2, 0.4, -1.0, 0.05};
  auto gated = moe_options("top_k", 5, 2);
  gated.shared_experts = 2;
  gated.shared_dim = 4;
  gated.shared_gate = true;
  add("shared experts behind a gate", gated);
  auto residual = moe_options("switch", 5, 1);
  residual.residual = true;
  add("a dense feed-forward plus top-1", residual);
  auto latent = moe_options("mixtral", 5, 2);
  latent.latent_dim = 4;
  latent.shared_experts = 1;
  add("experts of a latent width", latent);
  auto plus = moe_options("mixtral", 4, 2);
  plus.zero_experts = 1;
  plus.copy_experts = 2;
  plus.constant_experts = 2;
  add("zero, copy and constant experts", plus);
  plus.latent_dim = 3;
  add("zero, copy and constant experts beside a latent width and a capacity",
      with_capacity(plus, "position", "micro_batch"));
  for (const auto* order : {"position", "probability", "batch_priority", "random"})
    for (const auto* scope : {"micro_batch", "sequence"})
      for (const auto* router : {"switch", "mixtral", "gshard"}) {
        const int64_t k = std::string(router) == "switch" ? 1 : 2;
        add(std::string(router) + " capacity " + order + " " + scope,
            with_capacity(moe_options(router, 4, k), order, scope,
                          std::string(router) == "mixtral"));
      }
  add_own_rules(add);
  for (const auto* order : {"position", "probability", "batch_priority", "random"})
    add_next_choice(order, add);
  add_assignments(cases);
  add("evaluation: eval_factor, no random numbers",
      with_capacity(moe_options("gshard", 4, 2), "position", "micro_batch"));
  cases.back().training = false;
  add("one token per rank at most", moe_options("mixtral", 3, 2));
  cases.back().sequences = 2;
  return cases;
}

struct Outcome {
  torch::Tensor y_TD, x_grad_TD, router_grad_ED;
  std::map<int64_t, std::pair<torch::Tensor, torch::Tensor>> expert_grads;
  std::map<std::string, torch::Tensor> beside_grads;  // of parameters that every rank holds
  torch::Tensor ids_TK, kept_TK, counts_E;
};

bool is_beside(const std::string& parameter) {
  return parameter != "router" && parameter.rfind("experts.", 0) != 0;
}

torch::Tensor grad_or_zeros(const torch::Tensor& t) {
  if (!t.defined()) return torch::zeros({0}, torch::kDouble);
  return t.grad().defined() ? t.grad().clone() : torch::zeros_like(t);
}

torch::Tensor token_counts() {
  return torch::tensor({5, 9, 2, 9, 1, 0, 4});
}

RoutingContext context_for(const Case& c, int64_t first_token, int64_t tokens, Communicator* comm) {
  RoutingContext context;
  context.seed = 11;
  context.step = 4;
  context.layer = 2;
  context.first_token = first_token;
  context.sequence_length = kLength;
  const auto places_T = torch::arange(first_token, first_token + tokens);
  context.token_ids_T = (places_T * places_T + 3).remainder(token_counts().size(0));
  context.communicator = comm;
  context.training = c.training;
  return context;
}

MoELayer make_layer(const Case& c, std::shared_ptr<TokenDispatcher> dispatcher) {
  MoELayerOptions options;
  options.hidden_dim = kHidden;
  options.moe = c.moe;
  options.init.std = 0.5;
  options.seed = 3;
  options.name = "layers.2";
  options.dispatcher = std::move(dispatcher);
  options.resources = {token_counts().size(0), token_counts()};
  MoELayer layer(options);
  layer->to(torch::kDouble);
  if (!c.bias.empty()) layer->router_bias_E.copy_(torch::tensor(c.bias, torch::kDouble));
  return layer;
}

torch::Tensor random_like(std::vector<int64_t> shape, int64_t seed) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return at::randn(shape, generator, torch::kDouble);
}

// As many columns on every rank: one per expert.
torch::Tensor widened(const Case& c, const torch::Tensor& columns_TK, int64_t empty) {
  return torch::constant_pad_nd(columns_TK, {0, c.moe.num_experts - columns_TK.size(1)}, empty)
      .contiguous();
}

Outcome run_layer(const Case& c, int ranks) {
  const int64_t T = c.sequences * kLength;
  const auto x = random_like({T, kHidden}, 1), g = random_like({T, kHidden}, 2);
  Outcome outcome;
  std::mutex mutex;
  run_ranks(ranks, [&](Communicator& world) {
    const ExpertPlacement placement(c.moe.num_experts, ranks);
    auto layer = make_layer(c, make_all_to_all_dispatcher(world, placement));
    const Share block = block_of(world.rank(), ranks, c.sequences);
    const int64_t first = block.first * kLength, count = block.count * kLength;
    const auto mine = x.narrow(0, first, count).clone().requires_grad_(true);
    const auto output = layer->forward(mine, context_for(c, first, count, &world));
    (output.y_TD * g.narrow(0, first, count)).sum().backward();

    auto router_grad = grad_or_zeros(layer->router_ED);
    world.all_reduce({router_grad}, ReduceOp::kSum)->wait();
    std::map<std::string, torch::Tensor> beside_grads;
    for (const auto& item : layer->named_parameters())
      if (is_beside(item.key())) {
        beside_grads[item.key()] = grad_or_zeros(item.value());
        world.all_reduce({beside_grads[item.key()]}, ReduceOp::kSum)->wait();
      }
    const auto counts = output.decision.counts_E.clone();
    world.all_reduce({counts}, ReduceOp::kSum)->wait();
    const auto y = gather_rows(world, output.y_TD.detach().contiguous());
    const auto grad = gather_rows(
        world, mine.grad().defined() ? mine.grad().contiguous() : torch::zeros_like(mine));
    const auto ids = gather_rows(world, widened(c, output.decision.expert_ids_TK, -1));
    const auto kept = gather_rows(world, widened(c, output.decision.kept_TK.to(torch::kLong), 0));
    std::lock_guard lock(mutex);
    const auto& local = layer->local_experts();
    for (size_t slot = 0; slot < local.size(); ++slot) {
      const auto grad_of = [&](const torch::Tensor& weight) {
        return weight.grad().defined() ? weight.grad()[slot].clone()
                                       : torch::zeros_like(weight[slot]);
      };
      outcome.expert_grads[local[slot]] = {grad_of(layer->experts->gate_up_eGD),
                                           grad_of(layer->experts->down_eDF)};
    }
    if (world.rank() == 0) {
      outcome.y_TD = y;
      outcome.x_grad_TD = grad;
      outcome.router_grad_ED = router_grad;
      outcome.beside_grads = beside_grads;
      outcome.ids_TK = ids;
      outcome.kept_TK = kept;
      outcome.counts_E = counts;
    }
  });
  return outcome;
}

struct Expected {
  Outcome outcome;
  reference::Result result;
};

Expected run_reference(const Case& c) {
  const int64_t T = c.sequences * kLength;
  auto layer = make_layer(c, nullptr);
  reference::Weights w;
  if (layer->router_ED.defined())
    w.router_ED = layer->router_ED.detach().clone().requires_grad_(true);
  w.token_counts_V = token_counts();
  w.bias_E = layer->router_bias_E;
  for (int64_t e = 0; e < c.moe.num_experts; ++e) {
    w.gate_up.push_back(layer->experts->gate_up_eGD.detach()[e].clone().requires_grad_(true));
    w.down.push_back(layer->experts->down_eDF.detach()[e].clone().requires_grad_(true));
  }
  for (const auto& item : layer->named_parameters())
    if (is_beside(item.key()))
      w.beside[item.key()] = item.value().detach().clone().requires_grad_(true);
  const auto x = random_like({T, kHidden}, 1).requires_grad_(true);
  Expected expected;
  expected.result = reference::forward(c.moe, w, x, context_for(c, 0, T, nullptr));
  (expected.result.y_TD * random_like({T, kHidden}, 2)).sum().backward();
  Outcome& o = expected.outcome;
  o.y_TD = expected.result.y_TD.detach();
  o.x_grad_TD = x.grad();
  o.router_grad_ED = grad_or_zeros(w.router_ED);
  for (int64_t e = 0; e < c.moe.num_experts; ++e)
    o.expert_grads[e] = {grad_or_zeros(w.gate_up[e]), grad_or_zeros(w.down[e])};
  for (const auto& [name, parameter] : w.beside) o.beside_grads[name] = grad_or_zeros(parameter);
  return expected;
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return a.numel() == 0 ? 0.0 : test::or_infinite((a - b).abs().max().item<double>());
}

double difference(const Outcome& a, const Outcome& b) {
  Largest worst;
  worst.see(difference(a.y_TD, b.y_TD));
  worst.see(difference(a.x_grad_TD, b.x_grad_TD));
  worst.see(difference(a.router_grad_ED, b.router_grad_ED));
  REQUIRE(a.beside_grads.size() == b.beside_grads.size());
  for (const auto& [name, grad] : b.beside_grads)
    worst.see(difference(a.beside_grads.at(name), grad));
  REQUIRE(a.expert_grads.size() == b.expert_grads.size());
  for (const auto& [expert, grads] : b.expert_grads) {
    worst.see(difference(a.expert_grads.at(expert).first, grads.first));
    worst.see(difference(a.expert_grads.at(expert).second, grads.second));
  }
  return worst.value();
}

// Choices, refusals and counts; returns how many choices were refused.
int64_t check_choices(const Case& c, const reference::Result& expected, const Outcome& actual) {
  int64_t dropped = 0;
  for (size_t t = 0; t < expected.choices.size(); ++t) {
    const auto& choices = expected.choices[t];
    for (int64_t k = 0; k < c.moe.num_experts; ++k) {
      const bool chosen = k < static_cast<int64_t>(choices.size());
      CHECK(actual.ids_TK[t][k].item<int64_t>() == (chosen ? choices[k].expert : -1));
      CHECK(actual.kept_TK[t][k].item<int64_t>() == (chosen && choices[k].kept ? 1 : 0));
      dropped += chosen && !choices[k].kept;
    }
  }
  CHECK(actual.counts_E.equal(torch::tensor(expected.counts)));
  return dropped;
}

// EP=1 against EP=n: outputs and every gradient.
void check_expert_axes(const std::string& what, const Case& c) {
  const Outcome one = run_layer(c, 1);
  if (c.moe.force.active()) REQUIRE(one.ids_TK.select(1, 0).eq(0).all().item<bool>());
  Largest worst;
  for (const int ranks : {2, 3, 5}) {
    CAPTURE(ranks);
    const double here = difference(run_layer(c, ranks), one);
    CHECK(here < 1e-13);
    worst.see(here);
  }
  worst.print("traps: " + what + ", EP=1 against EP=2, 3 and 5");
}

Case sharded_case() {
  auto moe = moe_options("mixtral", 6, 2);
  moe.shared_experts = 1;
  moe.shared_gate = true;
  return {"", moe};
}

}  // namespace

TEST_CASE("oracle: the MoE layer equals the loop over tokens on 1, 2, 4 and 5 ranks") {
  Largest worst;
  for (const Case& c : all_cases()) {
    const Expected expected = run_reference(c);
    int64_t dropped = 0;
    for (const int ranks : {1, 2, 4, 5}) {
      CAPTURE(c.name, ranks);
      const Outcome actual = run_layer(c, ranks);
      dropped += check_choices(c, expected.result, actual);
      const double here = difference(actual, expected.outcome);
      CHECK(here < 1e-12);
      worst.see(here);
    }
    CAPTURE(c.name);
    if (c.moe.capacity.factor && c.training && c.moe.capacity.overflow == "drop")
      CHECK(dropped > 0);
  }
  worst.print("oracle");
}

TEST_CASE("traps: EP=1 and EP=n give the same gradients") {
  check_expert_axes("tokens on every rank", sharded_case());
}

TEST_CASE("traps: a zero-token rank gives and gets the right gradients") {
  Case c = sharded_case();
  c.sequences = 2;
  check_expert_axes("a zero-token rank", c);
}

TEST_CASE("traps: one expert gets everything, on one rank of many") {
  Case c = sharded_case();
  c.moe.top_k = 1;
  c.moe.router.type = "switch";
  c.moe.force.law = "one";
  check_expert_axes("one expert gets everything", c);
}

TEST_CASE("traps: E not divisible by ranks") {
  Case c = sharded_case();
  c.moe.num_experts = 7;
  check_expert_axes("E not divisible by ranks", c);
}
