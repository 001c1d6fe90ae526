#include "trainers/step/train_step.h"

#include <chrono>
#include <cmath>
#include <numeric>

#include "core/kernels/linear_cross_entropy.h"
#include "core/moe/capacity.h"
#include "core/optim/schedule.h"
#include "trainers/step/step_sums.h"

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

ModelOutput forward(Training& training, const Batch& batch) {
  return training.model->forward(batch.tokens_BL.to(training.device),
                                 routing_context(training, batch.first_sequence, true));
}

std::vector<std::vector<at::Tensor>> terms_of(const ModelOutput& output) {
  std::vector<std::vector<at::Tensor>> terms;
  for (const MoEOutput& layer : output.layers) terms.push_back(layer.terms);
  return terms;
}

std::vector<Batch> next_batches(Training& training) {
  std::vector<Batch> batches;
  for (int64_t m = 0; m < training.micro_batches_per_step(); ++m)
    batches.push_back(training.loader->next());
  return batches;
}

// `f: exact` needs the counts of the whole step before its first loss.
void count_step(Training& training, const std::vector<Batch>& batches) {
  torch::NoGradGuard no_grad;
  for (const Batch& batch : batches)
    training.balance->count(terms_of(forward(training, batch)), *training.world);
}

// What a quantile bias needs of the step: the margins of every micro-batch, layer by layer.
using Margins = std::vector<std::vector<at::Tensor>>;

void collect_margins(const ModelOutput& output, Margins& margins) {
  margins.resize(output.layers.size());
  for (size_t layer = 0; layer < output.layers.size(); ++layer)
    if (output.layers[layer].margins_TE.defined())
      margins[layer].push_back(output.layers[layer].margins_TE);
}

void run_micro_batch(Training& training, const Batch& batch, int64_t micro, StepSums& sums,
                     Margins& margins) {
  const ModelOutput output = forward(training, batch);
  const CrossEntropy loss =
      linear_cross_entropy(output.hidden_TD, training.model->head_VD(),
                           batch.targets_BL.reshape({-1}).to(training.device));
  const BalanceValue balance =
      training.balance->evaluate(terms_of(output), batch.tokens_BL.size(1), *training.world);
  // One divisor for the whole step, known before its first micro-batch: neither accumulation nor
  // ranks change the loss.
  const double share = 1.0 / static_cast<double>(training.micro_batches_per_step());
  at::Tensor objective =
      loss.nll_sum / static_cast<double>(training.loader->scored_tokens_per_step());
  if (balance.surrogate.defined()) objective = objective + balance.surrogate * share;
  objective.backward();

  sums.add(output, micro, facts_of(batch, training.device));
  collect_margins(output, margins);
  sums.add_nll(loss.nll_sum.item<double>());
  sums.add_aux(balance.value * share);
}

// Terms of the routers' weights have no micro-batches.
void run_weight_terms(Training& training, StepSums& sums) {
  std::vector<at::Tensor> routers;
  for (const MoELayer& layer : training.model->moe_layers()) routers.push_back(layer->router_ED);
  const BalanceValue balance = training.balance->evaluate_weights(routers, training.world->rank());
  if (balance.surrogate.defined()) balance.surrogate.backward();
  sums.add_aux(balance.value);
}

double reduce_gradients(Training& training) {
  training.reduction->start({training.dense->grad, /*expert=*/false});
  training.reduction->start({training.experts->grad, /*expert=*/true});
  training.reduction->finish();
  return std::sqrt(training.reduction->global_squared_norm(
      {{training.dense->grad, /*expert=*/false}, {training.experts->grad, /*expert=*/true}}));
}

void update_relu_l1(Training& training, const StepSums& sums) {
  std::vector<at::Tensor> counts_E;
  for (size_t layer = 0; layer < training.model->moe_layers().size(); ++layer)
    counts_E.push_back(sums.counts_E(layer));
  training.relu_l1->update(counts_E, training.tokens_per_step());
}

void update_biases(Training& training, const StepSums& sums, const Margins& margins) {
  const auto& layers = training.model->moe_layers();
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    BiasStep step;
    step.counts_E = sums.counts_E(layer);
    step.step = training.step;
    step.margins = margins[layer];
    step.communicator = training.world;
    layers[layer].ptr()->update_router_bias(step);
  }
}

void move_capacity_factor(Training& training, const StepSums& sums) {
  if (!training.capacity_factor.defined() || sums.layers().empty()) return;
  double drop_rate = 0;
  for (const LayerSums& layer : sums.layers()) {
    const std::vector<int64_t> counts_E = layer.counts_E();
    const auto selected = std::accumulate(counts_E.begin(), counts_E.end(), int64_t{0});
    if (selected > 0)
      drop_rate += static_cast<double>(selected - layer.kept) / static_cast<double>(selected);
  }
  training.capacity_factor.fill_(next_capacity_factor(
      *training.config.moe.capacity.dynamic, training.capacity_factor.item<double>(),
      drop_rate / static_cast<double>(sums.layers().size())));
}

void update(Training& training, double norm, double lr, const StepSums& sums,
            const Margins& margins) {
  training.optimizer->step(lr, clip_scale(norm, training.config.optim.clip_norm));
  update_biases(training, sums, margins);
  move_capacity_factor(training, sums);
  if (training.relu_l1) update_relu_l1(training, sums);
}

void describe_routing(Training& training, const StepSums& sums, StepReport& report) {
  report.load = load_of(sums.layers());
  report.received = received_of(sums.layers());
  report.moe = step_metrics(sums.layers(), training.config.moe.experts_per_token());
  add_bias_range(training, report.moe);
  if (report.load.empty()) return;
  if (!report.skipped) training.recent_load->add(report.load);
  report.moe["dead_experts"] = training.recent_load->dead_experts();
}

}  // namespace

StepReport train_step(Training& training) {
  const auto start = Clock::now();
  const std::vector<Batch> batches = next_batches(training);
  training.model->train();
  training.dense->zero_grad();
  training.experts->zero_grad();
  training.balance->begin_step(
      {training.step, training.relu_l1 ? training.relu_l1->coefficient() : 0.0});
  if (training.trace) training.trace->begin_step(training.step);
  if (training.balance->needs_counting_pass()) count_step(training, batches);

  StepSums sums(training, training.micro_batches_per_step());
  Margins margins;
  for (size_t micro = 0; micro < batches.size(); ++micro)
    run_micro_batch(training, batches[micro], static_cast<int64_t>(micro), sums, margins);
  run_weight_terms(training, sums);
  const double norm = reduce_gradients(training);
  sums.reduce(*training.world);
  if (training.trace) training.trace->end_step();

  StepReport report;
  report.lr = learning_rate(training.config.optim, training.step, training.config.train.steps);
  report.nll = sums.nll_sum() / static_cast<double>(training.loader->scored_tokens_per_step());
  report.aux_loss = sums.aux();
  report.loss = report.nll + report.aux_loss;
  report.grad_norm = norm;
  report.skipped = !std::isfinite(report.loss) || !std::isfinite(norm);
  if (!report.skipped) update(training, norm, report.lr, sums, margins);
  describe_routing(training, sums, report);

  const int64_t step_tokens = training.tokens_per_step();
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  report.step_ms = 1e3 * elapsed.count();
  report.tokens_per_s = static_cast<double>(step_tokens) / elapsed.count();
  if (report.skipped && training.config.train.on_nan == "abort") return report;
  training.step += 1;
  training.tokens += step_tokens;
  report.step = training.step;
  report.total_steps = training.config.train.steps;
  report.tokens = training.tokens;
  return report;
}

}  // namespace switchyard
