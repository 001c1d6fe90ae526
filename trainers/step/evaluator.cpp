#include "trainers/step/evaluator.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/linear_cross_entropy.h"
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
  const at::Tensor nll_B = nll_T.to(at::kCPU, at::kDouble).reshape(batch.targets_BL.sizes()).sum(1);
  const at::Tensor scored_B = batch.targets_BL.ge(0).sum(1).to(at::kDouble);
  sums.domains_D2.index_add_(0, batch.domain_B, at::stack({nll_B, scored_B}, 1));
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
  if (training.config.data.type == "text") report.bits_per_byte = report.nll / std::log(2.0);
}

void run_batch(Training& training, const Batch& batch, StepSums& routing, EvalSums& sums) {
  const ModelOutput output = training.model->forward(
      batch.tokens_BL.to(training.device), routing_context(training, batch.first_sequence, false));
  const CrossEntropy loss =
      linear_cross_entropy(output.hidden_TD, training.model->head_VD(),
                           batch.targets_BL.reshape({-1}).to(training.device));
  add_losses(training, batch, loss.nll_T, sums);
  routing.add(output, 0, per_token(batch.domain_B, batch.tokens_BL.size(1), training.device));
}

}  // namespace

EvalReport evaluate(Training& training, const EvalSet& set) {
  torch::NoGradGuard no_grad;
  training.model->eval();
  const LoaderGeometry& geometry = training.loader->geometry();
  StepSums routing(training, /*micro_batches=*/1);
  EvalSums sums;
  sums.domains_D2 =
      at::zeros({static_cast<int64_t>(training.source->domains().size()), 2}, at::kDouble);
  sums.with_true_model = training.source->has_true_model() && set.training == 0;

  EvalReport report;
  report.step = training.step;
  report.total_steps = training.config.train.steps;
  const int64_t validation =
      std::min(set.validation, training.source->num_validation_sequences(geometry.sequence_length));
  report.sequences = validation + set.training;
  for (int64_t first = 0; first < validation; first += geometry.micro_sequences) {
    const int64_t count = std::min(geometry.micro_sequences, validation - first);
    run_batch(training, evaluation_batch(*training.source, geometry, first, count), routing, sums);
  }
  const int64_t micro_batches = geometry.micro_batches();
  for (int64_t m = 0; m * geometry.micro_sequences < set.training; ++m)
    run_batch(training,
              training_batch(*training.source, geometry, m / micro_batches, m % micro_batches),
              routing, sums);

  training.world->all_reduce({sums.domains_D2, sums.true_nll}, ReduceOp::kSum)->wait();
  routing.reduce(*training.world);
  describe(training, sums, report);
  report.load = load_of(routing.layers());
  report.moe = evaluation_metrics(routing.layers(), training.config.moe.top_k);
  add_bias_range(training, report.moe);
  return report;
}

}  // namespace switchyard
