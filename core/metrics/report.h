#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

/// Numbers of one optimizer step, the same on every rank. Never averages over earlier steps.
struct StepReport {
  int64_t step = 0;         ///< steps done, this one included
  int64_t total_steps = 0;  ///< the run's last step
  int64_t tokens = 0;       ///< tokens seen since the start of the run
  double wall_s = 0;        ///< seconds of training since the start of the run, over all restarts
  double loss = 0, nll = 0, aux_loss = 0;  ///< loss = nll + aux_loss; nats per scored token
  double lr = 0, grad_norm = 0;
  double tokens_per_s = 0, step_ms = 0;
  double memory_bytes = 0;  ///< peak resident set of the largest rank
  bool skipped = false;     ///< the update was skipped (train.on_nan: skip)
  /// Names of semantics section 5 → one value per MoE layer.
  std::map<std::string, std::vector<double>> moe;
  /// Counts per expert, one list per MoE layer: assignments selected, before drops.
  std::vector<std::vector<int64_t>> load;
  /// Tokens that the experts of each rank served, one list per MoE layer.
  std::vector<std::vector<int64_t>> received;
};

/// Numbers of one evaluation, the same on every rank.
struct EvalReport {
  int64_t step = 0, total_steps = 0;
  int64_t sequences = 0, tokens = 0;  ///< tokens: scored positions
  double nll = 0;                     ///< nats per scored token
  /// Where a token's experts depend on later tokens: the same with each token choosing alone and
  /// without a capacity. Where training assigns whole batches and evaluation does not: the same
  /// with whole batches assigned.
  std::optional<double> nll_token_choice, nll_whole_batch;
  std::vector<std::pair<std::string, double>> nll_by_domain;
  std::optional<double> excess_loss;  ///< nll minus the true model's on the same tokens (synthetic)
  std::optional<double> excess_loss_h0;  ///< nll minus the corpus' entropy rate, where it is known
  std::optional<double> bits_per_byte;
  std::map<std::string, std::vector<double>>
      moe;  ///< over the whole set; max_vio_global, domain_mi, ...
  std::vector<std::vector<int64_t>> load, received;
  /// N_ij/N_i of each MoE layer: share of the tokens of expert i that go to expert j as well.
  std::vector<std::vector<std::vector<double>>> co_activation;
};

/// The end of a run: what summary.json holds.
struct Summary {
  int64_t steps = 0, tokens = 0;
  double train_nll = 0;
  std::optional<EvalReport> eval;
  double drop_rate = 0;  ///< of the last step, mean over MoE layers
  int64_t params_total = 0, params_active = 0;
  double flops_per_token = 0;
  double tokens_per_s = 0;
  double peak_rss_mb = 0;
  int64_t ranks = 1;
  std::string state_hash;
};

/// Receives reports on rank 0. A sink that cannot write throws IoError.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void on_step(const StepReport&) {}
  virtual void on_eval(const EvalReport&) {}
  virtual void on_finish(const Summary&) {}
};

}  // namespace switchyard
