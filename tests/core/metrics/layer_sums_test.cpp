#include "core/metrics/layer_sums.h"

#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "core/base/counter_rng.h"

namespace switchyard {
namespace {

at::Tensor integers(const std::vector<int64_t>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kLong).view(shape);
}

/// A random top-K decision over E experts in which some assignments are absent or refused.
struct Case {
  RoutingDecision decision;
  at::Tensor domain_T;
};

Case random_case(uint64_t seed, int64_t tokens, int64_t k, int64_t experts, int64_t domains) {
  std::vector<int64_t> ids, counts(experts, 0), domain;
  std::vector<bool> kept;
  std::vector<float> logits;
  for (int64_t t = 0; t < tokens; ++t) {
    domain.push_back(static_cast<int64_t>(hash({seed, 1, uint64_t(t)}) % domains));
    const auto first = static_cast<int64_t>(hash({seed, 2, uint64_t(t)}) % experts);
    for (int64_t j = 0; j < k; ++j) {
      const double u = uniform({seed, 3, uint64_t(t), uint64_t(j)});
      const int64_t id = j > 0 && u < 0.2 ? -1 : (first + j) % experts;
      ids.push_back(id);
      kept.push_back(id >= 0 && u < 0.8);
      if (id >= 0) ++counts[id];
    }
    for (int64_t e = 0; e < experts; ++e) {
      logits.push_back(float(4 * uniform({seed, 4, uint64_t(t), uint64_t(e)}) - 2));
    }
  }
  Case c;
  c.decision.expert_ids_TK = integers(ids, {tokens, k});
  c.decision.kept_TK = at::zeros({tokens, k}, at::kBool);
  for (int64_t i = 0; i < tokens * k; ++i) c.decision.kept_TK.view(-1)[i].fill_(bool(kept[i]));
  c.decision.logits_TE = at::tensor(logits, at::kFloat).view({tokens, experts});
  c.decision.probs_TE = at::softmax(c.decision.logits_TE, 1);
  c.decision.counts_E = integers(counts, {experts});
  c.domain_T = integers(domain, {tokens});
  return c;
}

/// The same sums token by token.
LayerSums by_hand(const Case& c, int64_t domains, const std::vector<int64_t>& device_E) {
  const auto ids = c.decision.expert_ids_TK;
  const int64_t experts = c.decision.probs_TE.size(1);
  LayerSums sums;
  sums.counts_ME = {std::vector<int64_t>(experts, 0)};
  sums.domain_counts_DE.assign(domains, std::vector<int64_t>(experts, 0));
  sums.prob_sum_E.assign(experts, 0);
  sums.logit_max = -1e300;
  for (int64_t t = 0; t < ids.size(0); ++t) {
    std::set<int64_t> devices;
    for (int64_t j = 0; j < ids.size(1); ++j) {
      const auto id = ids[t][j].item<int64_t>();
      if (id < 0) continue;
      ++sums.counts_ME[0][id];
      ++sums.domain_counts_DE[c.domain_T[t].item<int64_t>()][id];
      if (!c.decision.kept_TK[t][j].item<bool>()) continue;
      ++sums.kept;
      devices.insert(device_E[id]);
    }
    ++sums.tokens;
    sums.tokens_without_expert += devices.empty();
    sums.device_pairs += static_cast<int64_t>(devices.size());
    double exponentials = 0;
    for (int64_t e = 0; e < experts; ++e) {
      const auto p = c.decision.probs_TE[t][e].item<double>();
      const auto logit = c.decision.logits_TE[t][e].item<double>();
      sums.prob_sum_E[e] += p;
      sums.entropy_sum -= p * std::log(p);
      exponentials += std::exp(logit);
      sums.logit_max = std::max(sums.logit_max, logit);
    }
    sums.z_sum += std::pow(std::log(exponentials), 2);
  }
  return sums;
}

void check_equal(const LayerSums& a, const LayerSums& b) {
  CHECK(a.counts_E() == b.counts_E());
  CHECK(a.domain_counts_DE == b.domain_counts_DE);
  CHECK(a.kept == b.kept);
  CHECK(a.tokens == b.tokens);
  CHECK(a.tokens_without_expert == b.tokens_without_expert);
  CHECK(a.device_pairs == b.device_pairs);
  for (size_t e = 0; e < a.prob_sum_E.size(); ++e) {
    CHECK(a.prob_sum_E[e] == Approx(b.prob_sum_E[e]).epsilon(1e-6));
  }
  CHECK(a.entropy_sum == Approx(b.entropy_sum).epsilon(1e-5));
  CHECK(a.z_sum == Approx(b.z_sum).epsilon(1e-5));
  CHECK(a.logit_max == Approx(b.logit_max));
}

}  // namespace

TEST_CASE("the sums of a decision equal a loop over tokens", "[layer_sums]") {
  const auto [tokens, k, experts] = GENERATE(std::make_tuple(37, 2, 5), std::make_tuple(64, 1, 8),
                                             std::make_tuple(13, 4, 4), std::make_tuple(1, 2, 3));
  const Case c = random_case(7, tokens, k, experts, 3);
  std::vector<int64_t> device_E;
  for (int64_t e = 0; e < experts; ++e) device_E.push_back(e * 2 / experts);

  SECTION("experts on two devices") {
    RoutingSums sums({{experts}, 3}, at::kCPU);
    sums.set_placement({integers(device_E, {experts})}, 2);
    sums.accumulate(0, 0, c.decision, {c.domain_T});
    check_equal(sums.layers()[0], by_hand(c, 3, device_E));
  }
  SECTION("experts on one device") {
    RoutingSums sums({{experts}, 3}, at::kCPU);
    sums.accumulate(0, 0, c.decision, {c.domain_T});
    check_equal(sums.layers()[0], by_hand(c, 3, std::vector<int64_t>(experts, 0)));
  }
}

TEST_CASE("sums of layers and micro-batches stay apart", "[layer_sums]") {
  RoutingSums sums({{4, 4}, 2, 2}, at::kCPU);
  const Case a = random_case(1, 20, 2, 4, 2);
  const Case b = random_case(2, 30, 2, 4, 2);
  sums.accumulate(1, 0, a.decision, {a.domain_T});
  sums.accumulate(1, 1, b.decision, {b.domain_T});
  const auto layers = sums.layers();
  CHECK(layers[0].tokens == 0);
  CHECK(layers[0].counts_E() == std::vector<int64_t>(4, 0));
  CHECK(layers[1].tokens == 50);
  CHECK(layers[1].counts_ME[0] == by_hand(a, 2, {0, 0, 0, 0}).counts_E());
  CHECK(layers[1].counts_ME[1] == by_hand(b, 2, {0, 0, 0, 0}).counts_E());
}

TEST_CASE("layers may differ in experts and micro-batches in columns", "[layer_sums]") {
  RoutingSums sums({{3, 8, 5}, 2, 2}, at::kCPU);
  const std::vector<int64_t> devices = {0, 1, 0, 1, 0, 1, 0, 1};
  std::vector<at::Tensor> device_E;
  for (const int64_t experts : {3, 8, 5})
    device_E.push_back(integers(devices, {8}).narrow(0, 0, experts));
  sums.set_placement(device_E, 2);
  const Case three = random_case(1, 20, 1, 3, 2), eight = random_case(2, 20, 4, 8, 2),
             five = random_case(3, 20, 2, 5, 2), five_more = random_case(4, 9, 3, 5, 2);
  sums.accumulate(0, 0, three.decision, {three.domain_T});
  sums.accumulate(1, 1, eight.decision, {eight.domain_T});
  sums.accumulate(2, 0, five.decision, {five.domain_T});
  const auto layers = sums.layers();
  check_equal(layers[0], by_hand(three, 2, devices));
  check_equal(layers[1], by_hand(eight, 2, devices));
  check_equal(layers[2], by_hand(five, 2, devices));

  sums.accumulate(2, 1, five_more.decision, {five_more.domain_T});
  const LayerSums last = sums.layers()[2];
  CHECK(last.counts_ME[1] == by_hand(five_more, 2, devices).counts_E());
  CHECK(last.kept == by_hand(five, 2, devices).kept + by_hand(five_more, 2, devices).kept);
  check_equal(sums.layers()[1], layers[1]);
}

TEST_CASE("adding the tensors of two ranks gives the sums of both", "[layer_sums]") {
  const RoutingSums::Shape shape{{4}, 2};
  const Case a = random_case(1, 20, 2, 4, 2);
  const Case b = random_case(2, 30, 2, 4, 2);
  RoutingSums together(shape, at::kCPU), one(shape, at::kCPU), two(shape, at::kCPU);
  for (const Case* c : {&a, &b}) together.accumulate(0, 0, c->decision, {c->domain_T});
  one.accumulate(0, 0, a.decision, {a.domain_T});
  two.accumulate(0, 0, b.decision, {b.domain_T});
  one.integers().add_(two.integers());
  one.reals().add_(two.reals());
  one.maxima().copy_(one.maxima().maximum(two.maxima()));
  check_equal(one.layers()[0], together.layers()[0]);
}

TEST_CASE("a rank without tokens, a router without scores and a reset leave zeros",
          "[layer_sums]") {
  RoutingSums sums({{4}, 2}, at::kCPU);
  const Case none = random_case(1, 0, 2, 4, 2);
  sums.accumulate(0, 0, none.decision, {none.domain_T});
  CHECK(sums.layers()[0].tokens == 0);
  CHECK(std::isinf(sums.layers()[0].logit_max));

  Case bare = random_case(1, 5, 2, 4, 2);
  bare.decision.probs_TE = bare.decision.logits_TE = at::Tensor();
  sums.accumulate(0, 0, bare.decision, {});
  CHECK(sums.layers()[0].tokens == 5);
  CHECK(sums.layers()[0].prob_sum_E == std::vector<double>(4, 0));
  CHECK(sums.layers()[0].domain_counts_DE[0] == std::vector<int64_t>(4, 0));

  sums.reset();
  CHECK(sums.layers()[0].tokens == 0);
}

TEST_CASE("accumulating builds no graph", "[layer_sums]") {
  RoutingSums sums({{4}, 2}, at::kCPU);
  Case c = random_case(1, 5, 2, 4, 2);
  c.decision.probs_TE.set_requires_grad(true);
  sums.accumulate(0, 0, c.decision, {c.domain_T});
  CHECK_FALSE(sums.reals().requires_grad());
}

TEST_CASE("neighbours are counted inside sequences, where both have a first expert",
          "[layer_sums]") {
  // Two sequences of four tokens. First experts 0 0 1 1 | 1 2 − 2: of the pairs 00 01 11 | 12 two
  // repeat; the seam 1|1 is no pair, and those with the token that nobody chose are none either.
  RoutingDecision decision;
  decision.expert_ids_TK = integers({0, 1, 0, 2, 1, 0, 1, 2, 1, 0, 2, 0, -1, -1, 2, 1}, {8, 2});
  decision.kept_TK = decision.expert_ids_TK.ge(0);
  decision.counts_E = integers({4, 5, 5}, {3});
  RoutingSums sums({{3}, 0}, at::kCPU);
  sums.accumulate(0, 0, decision, {at::Tensor(), 4});
  CHECK(sums.layers()[0].neighbours == 4);
  CHECK(sums.layers()[0].repeats == 2);

  SECTION("where next_choice moved a first choice, the router's own counts") {
    RoutingSums moved({{3}, 0}, at::kCPU);
    RoutingDecision other = decision;
    other.selected_TK = decision.expert_ids_TK;
    other.expert_ids_TK = at::zeros({8, 2}, at::kLong);
    moved.accumulate(0, 0, other, {at::Tensor(), 4});
    CHECK(moved.layers()[0].repeats == 2);
  }
  SECTION("sequences of one token have no neighbours") {
    sums.accumulate(0, 0, decision, {at::Tensor(), 1});
    CHECK(sums.layers()[0].neighbours == 4);
  }
  SECTION("ranks with different numbers of sequences add up") {
    RoutingSums first({{3}, 0}, at::kCPU), none({{3}, 0}, at::kCPU);
    RoutingDecision half = decision;
    half.expert_ids_TK = decision.expert_ids_TK.narrow(0, 0, 4);
    half.kept_TK = decision.kept_TK.narrow(0, 0, 4);
    first.accumulate(0, 0, half, {at::Tensor(), 4});
    half.expert_ids_TK = decision.expert_ids_TK.narrow(0, 0, 0);
    half.kept_TK = decision.kept_TK.narrow(0, 0, 0);
    none.accumulate(0, 0, half, {at::Tensor(), 4});
    CHECK(first.layers()[0].neighbours == 3);
    CHECK(none.layers()[0].neighbours == 0);
  }
}

TEST_CASE("what a bias moved is counted over the tokens that had one", "[layer_sums]") {
  RoutingSums sums({{4}, 2}, at::kCPU);
  Case c = random_case(1, 5, 2, 4, 2);
  sums.accumulate(0, 0, c.decision, {});
  CHECK(sums.layers()[0].biased_tokens == 0);
  c.decision.moved = at::full({}, 3, at::kLong);
  sums.accumulate(0, 0, c.decision, {});
  CHECK(sums.layers()[0].moved == 3);
  CHECK(sums.layers()[0].biased_tokens == 5);
}

TEST_CASE("each rank adds what its experts did, with or without tokens of its own",
          "[layer_sums]") {
  // Experts 0 and 2 on rank 0 of two, 1 on rank 1, which has no tokens.
  RoutingSums zero({{3}, 0, 1, 0, 2}, at::kCPU), one({{3}, 0, 1, 1, 2}, at::kCPU);
  zero.accumulate(0, {at::full({}, 5, at::kLong), integers({4, 0, 3}, {3}), {}});
  one.accumulate(0, {at::full({}, 2, at::kLong), integers({0, 2, 0}, {3}), {}});
  one.accumulate(0, 0, random_case(1, 0, 2, 3, 1).decision, {});
  zero.integers().add_(one.integers());
  const LayerSums both = zero.layers()[0];
  CHECK(both.received_N == std::vector<int64_t>{5, 2});
  CHECK(both.computed_E == std::vector<int64_t>{4, 2, 3});
}

TEST_CASE("traps: counts above 2^24 stay exact in the sums, above 2^53 too", "[layer_sums]") {
  const int64_t before = GENERATE(int64_t{1} << 24, int64_t{1} << 53);
  RoutingSums sums({{2}, 1}, at::kCPU);
  sums.integers().fill_(before);
  RoutingDecision decision;
  decision.expert_ids_TK = integers({1}, {1, 1});
  decision.kept_TK = decision.expert_ids_TK.ge(0);
  decision.counts_E = integers({0, 1}, {2});
  sums.accumulate(0, 0, decision, {integers({0}, {1}), 1});
  const LayerSums layer = sums.layers()[0];
  CHECK(layer.counts_E() == std::vector<int64_t>{before, before + 1});
  CHECK(layer.domain_counts_DE[0] == std::vector<int64_t>{before, before + 1});
  CHECK(layer.kept == before + 1);
  CHECK(layer.tokens == before + 1);
}

}  // namespace switchyard
