#include "core/moe/zero_compute_experts.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/moe/moe_layer.h"

using namespace switchyard;

namespace {

// Feed-forward experts 0 and 1, zero 2, copy 3, constant 4.
RoutingDecision decision(std::vector<int64_t> ids_TK, std::vector<float> weights_TK) {
  RoutingDecision d;
  const auto T = static_cast<int64_t>(ids_TK.size()) / 2;
  d.expert_ids_TK = torch::tensor(ids_TK).view({T, 2});
  d.weights_TK = torch::tensor(weights_TK).view({T, 2});
  d.kept_TK = d.expert_ids_TK.ge(0);
  return d;
}

ZeroComputeExperts one_of_each() {
  ZeroComputeExperts experts(2, 2, ZeroComputeCounts{1, 1, 1});
  torch::NoGradGuard no_grad;
  experts->mix_C2D.copy_(torch::tensor({1.0f, 0.0f, 0.0f, 0.0f}).view({1, 2, 2}));
  experts->value_CD.copy_(torch::tensor({{10.0f, 20.0f}}));
  return experts;
}

}  // namespace

TEST_CASE("Zero, copy and constant experts by hand") {
  const auto x = torch::tensor({{1.0f, 2.0f}, {1.0f, 2.0f}, {1.0f, 2.0f}, {1.0f, 2.0f}});
  // Zero and copy; a feed-forward expert and none; constant and zero; copy and constant.
  const auto y = one_of_each()->forward(
      x, decision({2, 3, 0, -1, 4, 2, 3, 4}, {0.5, 0.25, 1, 0, 0.5, 0.5, 0.5, 0.5}));

  const double a = std::exp(1.0) / (std::exp(1.0) + 1);  // softmax of (1·1 + 0·2, 0)
  CHECK(y[0][1].item<double>() == Approx(0.25 * 2));
  CHECK(y[1].abs().sum().item<double>() == 0);
  CHECK(y[2][0].item<double>() == Approx(0.5 * (a * 1 + (1 - a) * 10)));
  CHECK(y[2][1].item<double>() == Approx(0.5 * (a * 2 + (1 - a) * 20)));
  CHECK(y[3][0].item<double>() == Approx(0.5 * 1 + 0.5 * (a * 1 + (1 - a) * 10)));
}

TEST_CASE("A choice that is not kept adds nothing, and none needs no tokens") {
  auto d = decision({3, 4}, {1, 1});
  d.kept_TK.fill_(false);

  CHECK(one_of_each()->forward(torch::ones({1, 2}), d).abs().sum().item<double>() == 0);
  const auto none = one_of_each()->forward(torch::ones({0, 2}), decision({}, {}));
  CHECK(none.sizes() == torch::IntArrayRef({0, 2}));
}

TEST_CASE("Only feed-forward experts are dispatched") {
  const auto below = only_below(decision({2, 1, 0, 4}, {1, 1, 1, 1}), 2);

  CHECK(below.expert_ids_TK.equal(torch::tensor({{-1, 1}, {0, -1}})));
  CHECK(below.kept_TK.equal(torch::tensor({{false, true}, {true, false}})));
}

namespace {

// Of a token above 0 the feed-forward expert 0 is the best, of one below 0 the copy expert 1.
MoELayer switch_of_dense_and_copy(double zero_compute_weight) {
  MoELayerOptions options;
  options.hidden_dim = 1;
  options.moe.num_experts = 1;
  options.moe.copy_experts = 1;
  options.moe.zero_compute_weight = zero_compute_weight;
  options.moe.top_k = 1;
  options.moe.router.type = "switch";
  options.moe.capacity.factor = 1.0;
  MoELayer layer(options);
  torch::NoGradGuard no_grad;
  layer->router_ED.copy_(torch::tensor({{1.0f}, {-1.0f}}));
  return layer;
}

RoutingDecision decision_on(MoELayer& layer, const torch::Tensor& x) {
  RoutingContext context;
  context.training = true;
  return layer->forward(x, context).decision;
}

}  // namespace

TEST_CASE("Free experts have room for every token, feed-forward ones up to their capacity") {
  MoELayer layer = switch_of_dense_and_copy(1);
  const auto all_copy = decision_on(layer, torch::full({4, 1}, -1.0f));
  const auto all_dense = decision_on(layer, torch::full({4, 1}, 1.0f));

  CHECK(all_copy.counts_E.equal(torch::tensor({0, 4})));
  CHECK(all_copy.kept_TK.sum().item<int64_t>() == 4);
  CHECK(all_dense.counts_E.equal(torch::tensor({4, 0})));
  // ⌈1 · 1 · 4 / 2⌉ = 2 seats: all routable experts share
  CHECK(all_dense.kept_TK.sum().item<int64_t>() == 2);
}

TEST_CASE("With τ a feed-forward expert has seats for its even share of what is left to it") {
  MoELayer layer = switch_of_dense_and_copy(0.5);
  // ⌈1 · 1 · 6 / (1 + 1 / 0.5)⌉ = 2 seats, 3 at τ = 1
  CHECK(decision_on(layer, torch::full({6, 1}, 1.0f)).kept_TK.sum().item<int64_t>() == 2);
}

TEST_CASE("A latent width: project, compute there, project back; the router sees all of x") {
  MoELayerOptions options;
  options.hidden_dim = 3;
  options.moe.num_experts = 2;
  options.moe.top_k = 1;
  options.moe.expert_dim = 4;
  options.moe.latent_dim = 2;
  options.init.std = 0.5;
  MoELayer layer(options);
  const auto x = torch::tensor({{1.0f, -1.0f, 2.0f}});
  const auto s = torch::softmax(layer->router_ED.matmul(x[0]), -1);
  const auto e = s.argmax().item<int64_t>();
  const auto h = layer->experts->gate_up_eGD[e].matmul(layer->latent_down_LD.matmul(x[0]));
  const auto hidden = torch::silu(h.narrow(0, 0, 4)) * h.narrow(0, 4, 4);
  const auto expected =
      layer->latent_up_DL.matmul(layer->experts->down_eDF[e].matmul(hidden)) * s[e];

  CHECK(layer->experts->gate_up_eGD.sizes() == torch::IntArrayRef({2, 8, 2}));
  CHECK(torch::allclose(layer->forward(x)[0], expected, 1e-4, 1e-6));
}
