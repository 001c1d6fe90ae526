#include "trainers/step/evaluator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/kernels/linear_cross_entropy.h"
#include "core/metrics/evaluation_metrics.h"
#include "core/moe/options/router_traits.h"
#include "trainers/step/step_sums.h"

namespace switchyard {
namespace {

// Sums of this rank; rows of `domains`: nll, scored tokens. One more number: the true model's nll.
struct EvalSums {
  at::Tensor domains_D2;
  at::Tensor true_nll = at::zeros({1}, at::kDouble);
  bool with_true_model = false;
};

void add_losses(const Training& training, const Batch& batch, const at::Tensor& nll_T,
                EvalSums& sums) {
  const at::Tensor nll = nll_T.to(at::kCPU, at::kDouble);
  const at::Tensor scored = batch.targets_BL.ge(0).reshape({-1}).to(at::kDouble);
  sums.domains_D2.index_add_(0, batch.domain_BL.reshape({-1}), at::stack({nll, scored}, 1));
  if (!sums.with_true_model) return;
  for (int64_t row = 0; row < batch.tokens_BL.size(0); ++row)
    sums.true_nll +=
        training.source->true_model_nll_sum(batch.first_sequence + row, batch.tokens_BL.size(1));
}

void describe(const Training& training, const EvalSums& sums, EvalReport& report) {
  const auto cells = sums.domains_D2.accessor<double, 2>();
  double nll = 0, scored = 0;
  for (size_t d = 0; d < training.source->domains().size(); ++d) {
    const int64_t row = static_cast<int64_t>(d);
    nll += cells[row][0];
    scored += cells[row][1];
    if (cells[row][1] > 0)
      report.nll_by_domain.emplace_back(training.source->domains()[d],
                                        cells[row][0] / cells[row][1]);
  }
  report.tokens = static_cast<int64_t>(scored);
  report.nll = nll / scored;
  if (sums.with_true_model) report.excess_loss = (nll - sums.true_nll.item<double>()) / scored;
  if (const auto rate = training.source->entropy_rate()) report.excess_loss_h0 = report.nll - *rate;
  if (training.config.data.type == "text") report.bits_per_byte = report.nll / std::log(2.0);
}

// Everything one pass over the set adds up.
struct Pass {
  explicit Pass(const Training& training)
      : routing(training, /*micro_batches=*/1),
        details({experts_per_layer(training.model), training.config.moe.top_k,
                 *training.config.model.vocab_size},
                training.device) {}
  StepSums routing;
  EvaluationSums details;
  EvalSums losses;
  Choices* choices = nullptr;
};

at::Tensor token_losses(Training& training, const Batch& batch, const ModelOutput& output) {
  return linear_cross_entropy(output.hidden_TD, training.model->head_VD(),
                              batch.targets_BL.reshape({-1}).to(training.device))
      .nll_T;
}

void run_batch(Training& training, const Batch& batch, Pass& pass) {
  RoutingContext context = routing_context(training, batch.first_sequence, false);
  context.measure_outputs = true;
  const at::Tensor tokens_BL = batch.tokens_BL.to(training.device);
  const ModelOutput output = training.model->forward(tokens_BL, context);
  add_losses(training, batch, token_losses(training, batch, output), pass.losses);
  pass.routing.add(output, 0, facts_of(batch, training.device));
  for (size_t i = 0; i < output.layers.size(); ++i) {
    const RoutingDecision& decision = output.layers[i].decision;
    pass.details.accumulate(static_cast<int64_t>(i), decision, output.layers[i].work,
                            tokens_BL.reshape({-1}));
    if (pass.choices)
      pass.choices->at(i).push_back(decision.first_selection_TK().to(at::kCPU, at::kInt));
  }
}

void for_each_batch(const Training& training, const EvalSet& set,
                    const std::function<void(const Batch&)>& run) {
  const LoaderGeometry& geometry = training.loader->geometry();
  for (int64_t first = 0; first < set.validation; first += geometry.micro_sequences) {
    const int64_t count = std::min(geometry.micro_sequences, set.validation - first);
    run(evaluation_batch(*training.source, geometry, first, count));
  }
  const int64_t micro_batches = geometry.micro_batches();
  for (int64_t first = 0, m = 0; first < set.training; first += geometry.micro_sequences, ++m)
    run(training_batch(*training.source, geometry, m / micro_batches, m % micro_batches,
                       std::min(geometry.micro_sequences, set.training - first)));
}

void reduce(Training& training, Pass& pass) {
  Communicator& world = *training.world;
  const auto& layers = training.model->moe_layers();
  for (size_t i = 0; i < layers.size(); ++i)
    pass.details.set_weight_norms(
        static_cast<int64_t>(i),
        layers[i]->experts->weight_norms_E(layers[i]->options().moe.num_routable()));
  WorkPtr works[] = {
      world.all_reduce({pass.losses.domains_D2, pass.losses.true_nll}, ReduceOp::kSum),
      world.all_reduce({pass.details.integers()}, ReduceOp::kSum),
      world.all_reduce({pass.details.reals()}, ReduceOp::kSum),
      world.all_reduce({pass.details.maxima()}, ReduceOp::kMax)};
  for (WorkPtr& work : works) work->wait();
  pass.routing.reduce(world);
}

using Selection = RoutingContext::Selection;

// Whether the evaluation gave a token experts that depend on later tokens.
bool looked_ahead(const MoEOptions& moe, const std::vector<LayerSums>& layers) {
  if (moe.router.type == "expert_choice") return true;
  if (!moe.capacity_looks_ahead(/*training=*/false)) return false;
  if (moe.capacity.overflow == "next_choice") return true;
  return std::any_of(layers.begin(), layers.end(), [](const LayerSums& sums) {
    const auto counts = sums.counts_E();
    return sums.kept < std::accumulate(counts.begin(), counts.end(), int64_t{0});
  });
}

// Whether training assigns whole batches where evaluation does not.
bool trains_on_whole_batches(const MoEOptions& moe) {
  return moe.router.type != "expert_choice" && !router_traits(moe.router, moe.top_k).causal;
}

double nll_under(Training& training, const EvalSet& set, Selection selection, int64_t scored) {
  at::Tensor sum = at::zeros({1}, at::kDouble);
  for_each_batch(training, set, [&](const Batch& batch) {
    RoutingContext context = routing_context(training, batch.first_sequence, false);
    context.selection = selection;
    const ModelOutput output =
        training.model->forward(batch.tokens_BL.to(training.device), context);
    sum += token_losses(training, batch, output).to(at::kCPU, at::kDouble).sum();
  });
  training.world->all_reduce({sum}, ReduceOp::kSum)->wait();
  return sum.item<double>() / static_cast<double>(scored);
}

void describe_routing(const Training& training, const Pass& pass, EvalReport& report) {
  const auto details = pass.details.layers();
  report.load = load_of(pass.routing.layers());
  report.received = received_of(pass.routing.layers());
  report.moe =
      evaluation_metrics(pass.routing.layers(), details, training.config.moe.experts_per_token());
  for (const EvaluationLayer& layer : details)
    report.co_activation.push_back(co_activation(layer.pair_counts_EE));
  add_bias_range(training, report.moe);
}

}  // namespace

EvalReport evaluate(Training& training, const EvalSet& wanted, Choices* choices) {
  torch::NoGradGuard no_grad;
  training.model->eval();
  EvalSet set = wanted;
  set.validation = std::min(set.validation, training.source->num_validation_sequences(
                                                training.loader->geometry().sequence_length));
  Pass pass(training);
  pass.choices = choices;
  if (choices) choices->assign(static_cast<size_t>(training.moe_layers()), {});
  pass.losses.domains_D2 =
      at::zeros({static_cast<int64_t>(training.source->domains().size()), 2}, at::kDouble);
  pass.losses.with_true_model = training.source->has_true_model() && set.training == 0;
  for_each_batch(training, set, [&](const Batch& batch) { run_batch(training, batch, pass); });
  reduce(training, pass);

  EvalReport report;
  report.step = training.step;
  report.total_steps = training.config.train.steps;
  report.sequences = set.validation + set.training;
  describe(training, pass.losses, report);
  describe_routing(training, pass, report);
  if (training.moe_layers() == 0) return report;
  const MoEOptions& moe = training.config.moe;
  if (looked_ahead(moe, pass.routing.layers()))
    report.nll_token_choice = nll_under(training, set, Selection::kTokenChoice, report.tokens);
  if (trains_on_whole_batches(moe))
    report.nll_whole_batch = nll_under(training, set, Selection::kWholeBatch, report.tokens);
  return report;
}

}  // namespace switchyard
