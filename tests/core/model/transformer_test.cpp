#include "core/model/transformer.h"

#include <catch2/catch.hpp>

#include "core/loss/balance_terms.h"

using namespace switchyard;

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

TEST_CASE("The model is causal: a later token never moves an earlier output") {
  Transformer model(small());
  torch::NoGradGuard no_grad;
  auto changed = tokens();
  changed[0][5] = 10;

  const auto a = model->forward(tokens(), training_context()).hidden_TD;
  const auto b = model->forward(changed, training_context()).hidden_TD;

  CHECK(a.narrow(0, 0, 5).equal(b.narrow(0, 0, 5)));
  CHECK_FALSE(a[5].equal(b[5]));
}

TEST_CASE("Weights are functions of seed and name") {
  auto other = small();
  other.seed = 2;
  Transformer a(small()), b(small()), c(other);

  CHECK(a->head_VD().equal(b->head_VD()));
  CHECK_FALSE(a->head_VD().equal(c->head_VD()));
  CHECK(a->head_VD().std().item<double>() == Approx(0.02).epsilon(0.2));
}

TEST_CASE("Recomputation changes no output, no gradient, and counts no term twice") {
  auto options = small(at::kDouble);
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
  double worst = 0;
  for (const auto& item : plain->named_parameters()) {
    const auto& other = grads[item.key()];
    REQUIRE(item.value().grad().defined() == other.grad().defined());
    if (!other.grad().defined()) continue;
    worst = std::max(worst, (item.value().grad() - other.grad()).abs().max().item<double>());
  }
  CHECK(worst < 1e-12);
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

TEST_CASE("Tied embeddings use one matrix") {
  auto options = small();
  options.model.tie_embeddings = true;
  Transformer model(options);

  CHECK(model->head_VD().data_ptr() == model->named_parameters()["embedding"].data_ptr());
}
