#include "core/model/transformer.h"

#include <catch2/catch.hpp>

#include "core/loss/balance_terms.h"
#include "core/moe/options/router_traits.h"
#include "tests/support/largest.h"
#include "tests/support/routing.h"

using namespace switchyard;
using test::Largest;
using test::router_types;
using test::valid_options;

namespace {

TransformerOptions small(at::ScalarType compute = at::kFloat) {
  TransformerOptions options;
  options.model.num_layers = 3;
  options.model.hidden_dim = 16;
  options.model.num_heads = 2;
  options.model.num_kv_heads = 1;
  options.model.head_dim = 8;
  options.model.ffn_dim = 24;
  options.model.vocab_size = 11;
  options.model.max_seq_len = 8;
  options.moe.layers.kind = LayerPattern::Kind::kFirstDense;
  options.moe.layers.first_dense = 1;
  options.moe.num_experts = 4;
  options.moe.top_k = 2;
  options.moe.expert_dim = 12;
  options.moe.router.type = "mixtral";
  options.terms = make_balance_terms(options.moe);
  options.compute_dtype = compute;
  return options;
}

torch::Tensor tokens() {
  return torch::arange(16).remainder(11).reshape({2, 8});
}

RoutingContext training_context() {
  RoutingContext context;
  context.training = true;
  return context;
}

// In fp64, with weights large enough for routing to matter. The experts' matrix products have as
// many rows as tokens, so that an output may move by rounding.
TransformerOptions with_routing(const MoEOptions& moe) {
  TransformerOptions options = small(at::kDouble);
  options.model.init_std = 0.5;
  const LayerPattern layers = options.moe.layers;
  options.moe = moe;
  options.moe.layers = layers;
  options.moe.expert_dim = 12;
  options.terms = {};
  options.resources = {11, torch::arange(11)};
  return options;
}

// How far earlier outputs of the sequence move when a later token becomes another.
double moved_by_later_tokens(const TransformerOptions& options, bool training) {
  Transformer model(options);
  model->to(torch::kDouble);
  torch::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(5);
  for (const MoELayer& layer : model->moe_layers())
    if (layer->router_bias_E.defined())
      layer->router_bias_E.copy_(
          at::randn(layer->router_bias_E.sizes(), generator, torch::kDouble) * 0.2);
  RoutingContext context = training_context();
  context.training = training;
  context.sequence_length = 8;
  const auto before = model->forward(tokens(), context).hidden_TD;
  Largest moved;
  for (int64_t changed = 1; changed < 8; ++changed)
    for (const int64_t token : {8, 9, 10}) {
      auto others = tokens();
      others[0][changed] = token;
      const auto after = model->forward(others, context).hidden_TD;
      REQUIRE_FALSE(after[changed].equal(before[changed]));
      moved.see((after - before).narrow(0, 0, changed).abs().max().item<double>());
    }
  return moved.value();
}

constexpr double kRounding = 1e-12;

}  // namespace

TEST_CASE("Layers follow the pattern: the first is dense, the others are MoE") {
  Transformer model(small());
  const auto output = model->forward(tokens(), training_context());

  CHECK(model->moe_layers().size() == 2);
  CHECK(output.layers.size() == 2);
  CHECK(output.hidden_TD.sizes() == torch::IntArrayRef({16, 16}));
  CHECK(output.layers[0].terms.size() == model->options().terms.size());
}

TEST_CASE("Layers may have different numbers of experts") {
  auto options = small();
  options.moe.layer_experts = {4, 7};
  Transformer model(options);

  const auto output = model->forward(tokens(), training_context());

  CHECK(model->moe_layers()[0]->router_ED.size(0) == 4);
  CHECK(model->moe_layers()[1]->router_ED.size(0) == 7);
  CHECK(output.layers[0].decision.counts_E.numel() == 4);
  CHECK(output.layers[1].decision.counts_E.numel() == 7);
  CHECK(output.layers[1].terms[0].size(1) == 14);  // Σ p and the counts of 7 experts
}

TEST_CASE("Global names carry no module that is only ours") {
  CHECK(global_name("layers.3.moe.router") == "layers.3.router");
  CHECK(global_name("layers.3.moe.experts.gate_up") == "layers.3.experts.gate_up");
  CHECK(global_name("embedding") == "embedding");
}

TEST_CASE("causality: a later token never moves an earlier output") {
  Largest worst;
  for (const auto& type : router_types()) {
    MoEOptions moe = valid_options(type, 4, 2);
    const auto traits = router_traits(moe.router, moe.top_k);
    if (!traits.causal) continue;
    for (const auto* bias : {"none", "sign"})
      for (const bool training : {true, false}) {
        if (std::string(bias) == "sign" && !traits.takes_bias) continue;
        CAPTURE(type, bias, training);
        moe.bias.type = bias;
        const double moved = moved_by_later_tokens(with_routing(moe), training);
        CHECK(moved < kRounding);
        worst.see(moved);
      }
  }
  worst.print("causality: outputs of earlier tokens");
}

TEST_CASE("causality: a capacity by position moves no earlier output, one by priority does") {
  MoEOptions moe = valid_options("switch", 4, 1);
  moe.capacity.factor = 0.5;
  for (const bool training : {true, false}) {
    CAPTURE(training);
    moe.capacity.order = "position";
    CHECK(moved_by_later_tokens(with_routing(moe), training) < kRounding);
    moe.capacity.order = "batch_priority";
    CHECK(moved_by_later_tokens(with_routing(moe), training) > 1e-6);
  }
  moe.capacity.factor = 8.0;  // binds nowhere
  CHECK(moved_by_later_tokens(with_routing(moe), true) < kRounding);
}

TEST_CASE("Weights are functions of seed and name") {
  auto other = small();
  other.seed = 2;
  Transformer a(small()), b(small()), c(other);

  CHECK(a->head_VD().equal(b->head_VD()));
  CHECK_FALSE(a->head_VD().equal(c->head_VD()));
  CHECK(a->head_VD().std().item<double>() == Approx(0.02).epsilon(0.2));
}

TEST_CASE("A gating residual adds a map of the logits of the MoE layer before") {
  auto options = small(at::kDouble);
  options.moe.layer_experts = {4, 7};
  options.moe.router.gating_residual = true;
  Transformer model(options);
  model->to(torch::kDouble);
  const MoELayer first = model->moe_layers()[0], second = model->moe_layers()[1];
  CHECK_FALSE(first->router_residual_EE.defined());
  REQUIRE(second->router_residual_EE.sizes() == torch::IntArrayRef({7, 4}));

  const auto with = model->forward(tokens(), training_context());
  const at::Tensor carried_TE =
      at::mm(with.layers[0].decision.logits_TE, second->router_residual_EE.t());
  const at::Tensor own_TE = with.layers[1].decision.logits_TE - carried_TE;
  {
    torch::NoGradGuard no_grad;
    second->router_residual_EE.zero_();  // its choices, not its input, depend on the map
  }
  const auto without = model->forward(tokens(), training_context());
  CHECK(carried_TE.abs().max().item<double>() > 1e-6);
  CHECK((own_TE - without.layers[1].decision.logits_TE).abs().max().item<double>() < 1e-14);
}

TEST_CASE("Recomputation changes no output, no gradient, and counts no term twice") {
  auto options = small(at::kDouble);
  options.moe.router.gating_residual = GENERATE(false, true);
  auto again = options;
  again.recompute = true;
  Transformer plain(options), recomputed(again);
  plain->to(torch::kDouble);
  recomputed->to(torch::kDouble);

  for (auto& model : {plain, recomputed}) {
    const auto output = Transformer(model)->forward(tokens(), training_context());
    auto loss = output.hidden_TD.square().sum();
    for (const auto& layer : output.layers)
      for (const auto& term : layer.terms) loss = loss + term.square().sum() * 1e-3;
    loss.backward();
  }

  const auto grads = recomputed->named_parameters();
  Largest worst;
  for (const auto& item : plain->named_parameters()) {
    const auto& other = grads[item.key()];
    REQUIRE(item.value().grad().defined() == other.grad().defined());
    if (!other.grad().defined()) continue;
    worst.see((item.value().grad() - other.grad()).abs().max().item<double>());
  }
  CHECK(worst.value() < 1e-12);
}

TEST_CASE("bf16 compute keeps fp32 weights and stays near the fp32 result") {
  Transformer fp32(small()), bf16(small(at::kBFloat16));
  torch::NoGradGuard no_grad;

  const auto a = fp32->forward(tokens(), training_context()).hidden_TD;
  const auto b = bf16->forward(tokens(), training_context()).hidden_TD;

  CHECK(bf16->head_VD().scalar_type() == torch::kFloat);
  CHECK(b.scalar_type() == torch::kBFloat16);
  CHECK((a - b.to(torch::kFloat)).abs().max().item<double>() < 0.1);
}

TEST_CASE("init: fan_in draws every matrix by its own columns, the router's too") {
  TransformerOptions options = small();
  options.terms = {};
  options.model.init = "fan_in";
  options.moe.router.type = "switch";
  options.moe.top_k = 1;
  Transformer model(options);
  for (const auto& item : model->named_parameters()) {
    if (item.value().dim() < 2) continue;
    INFO(item.key());
    const double bound = 2 * std::sqrt(0.1 / static_cast<double>(item.value().size(-1)));
    const double largest = item.value().abs().max().item<double>();
    CHECK(largest <= bound * (1 + 1e-6));
    CHECK(largest > bound / 2);
  }
}

TEST_CASE("Tied embeddings use one matrix") {
  auto options = small();
  options.model.tie_embeddings = true;
  Transformer model(options);

  CHECK(model->head_VD().data_ptr() == model->named_parameters()["embedding"].data_ptr());
}
