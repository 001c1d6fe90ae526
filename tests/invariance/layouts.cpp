#include "tests/invariance/layouts.h"

#include <mutex>

#include "core/base/local_communicator.h"
#include "core/base/partition.h"
#include "core/model/transformer.h"
#include "core/moe/moe_layer.h"
#include "parallel/comm/thread_communicator.h"
#include "parallel/expert/all_to_all_dispatcher.h"
#include "parallel/mesh/mesh.h"

namespace switchyard::invariance {
namespace {

MoELayer make_layer(const Row& row, Communicator& group) {
  MoELayerOptions options;
  options.hidden_dim = kExperts;
  options.moe = row.moe;
  options.dispatcher = make_all_to_all_dispatcher(group, ExpertPlacement(kExperts, group.size()));
  options.terms = make_balance_terms(row.moe);
  MoELayer layer(options);
  layer->to(torch::kDouble);
  torch::NoGradGuard no_grad;
  // An orthogonal weight has no gradient to compare.
  layer->router_ED.copy_(row.name == "orthogonal" ? random_matrix(kExperts, kExperts, 7)
                                                  : torch::eye(kExperts, torch::kDouble));
  return layer;
}

RoutingContext context_at(int64_t sequence, Communicator& world) {
  RoutingContext context;
  context.seed = 5;
  context.step = 2;
  context.layer = 1;
  context.first_token = sequence * kLength;
  context.sequence_length = kLength;
  context.communicator = &world;
  context.training = true;
  return context;
}

// One rank's part of a step.
class RankStep {
 public:
  RankStep(const Row& row, const Layout& layout, Communicator& world)
      : layout_(layout),
        world_(world),
        mesh_(world, layout.expert_axis),
        layer_(make_layer(row, mesh_.expert_group())),
        loss_(layer_->options().terms),
        logits_TE_(random_matrix(layout.sequences * kLength, kExperts, 1)) {}

  Outcome run() {
    loss_.begin_step({0, 1.0});
    if (loss_.needs_counting_pass()) {
      torch::NoGradGuard no_grad;
      for (int64_t micro = 0; micro < layout_.micro_batches; ++micro)
        loss_.count({forward(micro, inputs(micro))}, world_);
    }
    Outcome outcome;
    std::vector<torch::Tensor> grads;
    const double share = 1.0 / static_cast<double>(layout_.micro_batches);
    for (int64_t micro = 0; micro < layout_.micro_batches; ++micro) {
      const auto mine_TE = inputs(micro).requires_grad_(true);
      const auto balance = loss_.evaluate({forward(micro, mine_TE)}, kLength, world_);
      if (balance.surrogate.defined()) (balance.surrogate * share).backward();
      outcome.value += balance.value * share;
      const auto grad = mine_TE.grad().defined() ? mine_TE.grad() : torch::zeros_like(mine_TE);
      grads.push_back(gather_rows(world_, grad.contiguous()));
    }
    outcome.grad = torch::cat(grads);
    add_weight_terms(outcome);
    return outcome;
  }

 private:
  Share block_of_micro(int64_t micro) const {
    const int64_t size = layout_.sequences / layout_.micro_batches;
    const Share block = block_of(world_.rank(), layout_.ranks, size);
    return {micro * size + block.first, block.count};
  }
  torch::Tensor inputs(int64_t micro) const {
    const Share block = block_of_micro(micro);
    return logits_TE_.narrow(0, block.first * kLength, block.count * kLength).clone();
  }
  std::vector<at::Tensor> forward(int64_t micro, const torch::Tensor& mine_TE) {
    return layer_->forward(mine_TE, context_at(block_of_micro(micro).first, world_)).terms;
  }
  void add_weight_terms(Outcome& outcome) {
    const auto weights = loss_.evaluate_weights({layer_->router_ED}, world_.rank());
    if (weights.value == 0) return;
    layer_->router_ED.mutable_grad() = torch::zeros_like(layer_->router_ED);
    if (weights.surrogate.defined()) weights.surrogate.backward();
    outcome.grad = layer_->router_ED.grad().contiguous();
    world_.all_reduce({outcome.grad}, ReduceOp::kSum)->wait();
    outcome.value += weights.value;
  }

  Layout layout_;
  Communicator& world_;
  Mesh mesh_;
  MoELayer layer_;
  BalanceLoss loss_;
  torch::Tensor logits_TE_;
};

TransformerOptions tiny(const Row& row, bool recompute) {
  TransformerOptions options;
  options.model.num_layers = 3;
  options.model.hidden_dim = 8;
  options.model.num_heads = options.model.num_kv_heads = 1;
  options.model.head_dim = 8;
  options.model.ffn_dim = 12;
  options.model.vocab_size = 11;
  options.model.max_seq_len = 4;
  options.moe = row.moe;
  options.moe.layers.kind = LayerPattern::Kind::kFirstDense;
  options.moe.layers.first_dense = 1;
  options.recompute = recompute;
  options.compute_dtype = torch::kDouble;
  options.terms = make_balance_terms(row.moe);
  return options;
}

// Tokens choose K experts of different groups in turn: every expert gets the same.
torch::Tensor balanced_ids(int64_t experts, int64_t top_k, int64_t groups) {
  auto ids = torch::empty({experts, top_k}, torch::kLong);
  const int64_t size = experts / groups;
  for (int64_t t = 0; t < experts; ++t)
    for (int64_t k = 0; k < top_k; ++k)
      ids[t][k] = (t + k) % groups * size + (t / groups + k / groups) % size;
  return ids;
}

}  // namespace

Outcome run_step(const Row& row, const Layout& layout) {
  Outcome outcome;
  std::mutex mutex;
  run_ranks(layout.ranks, [&](Communicator& world) {
    const Outcome mine = RankStep(row, layout, world).run();
    const std::lock_guard lock(mutex);
    if (world.rank() == 0) outcome = mine;
  });
  return outcome;
}

Outcome run_transformer(const Row& row, bool recompute) {
  Transformer model(tiny(row, recompute));
  model->to(torch::kDouble);
  auto comm = make_local_communicator();
  RoutingContext context = context_at(0, *comm);
  context.communicator = nullptr;
  context.sequence_length = 4;
  BalanceLoss loss(model->options().terms);
  loss.begin_step({0, 1.0});
  const auto tokens_BL = torch::arange(16).remainder(11).reshape({4, 4});
  const auto terms_of = [&] {
    std::vector<std::vector<at::Tensor>> terms;
    for (const MoEOutput& layer : model->forward(tokens_BL, context).layers)
      terms.push_back(layer.terms);
    return terms;
  };
  if (loss.needs_counting_pass()) {
    torch::NoGradGuard no_grad;
    loss.count(terms_of(), *comm);
  }
  const auto balance = loss.evaluate(terms_of(), 4, *comm);
  if (balance.surrogate.defined()) balance.surrogate.backward();
  std::vector<at::Tensor> routers;
  for (const MoELayer& layer : model->moe_layers()) routers.push_back(layer->router_ED);
  const auto weights = loss.evaluate_weights(routers, 0);
  if (weights.surrogate.defined()) weights.surrogate.backward();

  Outcome outcome{balance.value + weights.value, {}};
  std::vector<torch::Tensor> grads;
  for (const auto& parameter : model->parameters())
    grads.push_back((parameter.grad().defined() ? parameter.grad() : torch::zeros_like(parameter))
                        .reshape({-1}));
  outcome.grad = torch::cat(grads);
  return outcome;
}

Outcome run_permuted(const Row& row, const std::vector<int64_t>& order) {
  const auto order_E = torch::tensor(order);
  const auto back_E = order_E.argsort();
  auto comm = make_local_communicator();
  BalanceLoss loss(make_balance_terms(row.moe));
  loss.begin_step({0, 1.0});
  if (row.name == "orthogonal") {
    const auto weight_ED =
        random_matrix(kExperts, 10, 1).index_select(0, order_E).requires_grad_(true);
    const auto weights = loss.evaluate_weights({weight_ED}, 0);
    weights.surrogate.backward();
    return {weights.value, weight_ED.grad().index_select(0, back_E)};
  }
  const auto logits_TE =
      random_matrix(5 * kLength, kExperts, 1).index_select(1, order_E).requires_grad_(true);
  const auto noise_TE = random_matrix(5 * kLength, kExperts, 2).index_select(1, order_E);
  const auto context = context_at(0, *comm);
  const auto router = make_router(row.moe);
  const auto decision = router->decide({logits_TE, {}, noise_TE}, {}, context);
  const auto term = make_balance_terms(row.moe)[0];
  const std::vector<std::vector<at::Tensor>> sums = {{term->sequence_sums(decision, context)}};
  if (loss.needs_counting_pass()) loss.count(sums, *comm);
  const auto balance = loss.evaluate(sums, kLength, *comm);
  balance.surrogate.backward();
  return {balance.value, logits_TE.grad().index_select(1, back_E)};
}

double run_balanced(const Row& row, int64_t experts, int64_t top_k, int64_t layers,
                    int64_t sequence_length) {
  MoEOptions moe = row.moe;
  moe.num_experts = experts;
  moe.top_k = top_k;
  moe.router.groups = moe.router.kept_groups = 1;
  const auto ids_TK = balanced_ids(experts, top_k, 4).repeat({sequence_length, 1});
  const int64_t T = ids_TK.size(0);
  RoutingDecision decision;
  decision.expert_ids_TK = ids_TK;
  decision.logits_TE = torch::zeros({T, experts}, torch::kDouble);
  decision.probs_TE = decision.scores_TE = torch::softmax(decision.logits_TE, -1);
  decision.load_TE = decision.probs_TE * top_k;
  decision.weights_TK = torch::full({T, top_k}, 1.0 / static_cast<double>(top_k), torch::kDouble);
  if (moe.router.type == "relu")
    decision.scores_TE =
        torch::zeros_like(decision.probs_TE).scatter(1, ids_TK, decision.weights_TK);
  // The best K of equal scores would be the first K: f of unbiased counts comes from scores.
  if (!moe.balance.empty() && moe.balance[0].count == "unbiased")
    decision.scores_TE = torch::zeros_like(decision.probs_TE).scatter(1, ids_TK, 1.0);

  auto comm = make_local_communicator();
  RoutingContext context;
  context.sequence_length = sequence_length;
  const auto term = make_balance_terms(moe)[0];
  BalanceLoss loss(make_balance_terms(moe));
  loss.begin_step({0, 1.0});
  const std::vector<std::vector<at::Tensor>> sums(static_cast<size_t>(layers),
                                                  {term->sequence_sums(decision, context)});
  if (loss.needs_counting_pass()) loss.count(sums, *comm);
  const std::vector<at::Tensor> routers(static_cast<size_t>(layers),
                                        torch::eye(experts, torch::kDouble));
  return loss.evaluate(sums, context.sequence_length, *comm).value +
         loss.evaluate_weights(routers, 0).value;
}

}  // namespace switchyard::invariance
