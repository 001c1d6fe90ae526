#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/metrics/layer_sums.h"

namespace switchyard {

// Formulas over counts and sums that are already reduced over all ranks. c: assignments per expert
// before drops; mean = Σc/E; entropies and information in nats. Without a single assignment the
// ratios are NaN.

double max_vio(const std::vector<int64_t>& counts_E);       ///< max c/mean − 1
double load_cv(const std::vector<int64_t>& counts_E);       ///< population deviation / mean
double load_entropy(const std::vector<int64_t>& counts_E);  ///< −Σ f ln f / ln E; 1 for E = 1
double load_max(const std::vector<int64_t>& counts_E);      ///< max c/mean
double load_min(const std::vector<int64_t>& counts_E);      ///< min c/mean
/// Experts with less than 1 % of the mean.
int64_t dead_experts(const std::vector<int64_t>& counts_E);

/// Expected maximum of n independent standard normals, by integration in fp64.
double expected_normal_maximum(int64_t n);
/// What max_vio would be if each of T tokens chose K of E experts blindly:
/// m_E √(E(E−K) / ((E−1) T K)).
double max_vio_floor(int64_t num_experts, int64_t top_k, int64_t tokens);

/// H of non-negative values that are first divided by their sum.
double entropy(const std::vector<double>& values);
/// I(row; expert) of a table of counts [rows, experts], less the bias (R−1)(E−1)/2M of M samples
/// (Miller 1955). R counts the rows that occur, E all experts.
double information(std::span<const int64_t> counts, int64_t experts);
/// I(domain; expert), and the same ÷ min(H(domain), H(expert)): NaN where one of those is 0.
double domain_information(const std::vector<std::vector<int64_t>>& counts_DE);
double normalized_information(const std::vector<std::vector<int64_t>>& counts_DE);
/// E Σ f P, P = mean probability: the balance term's value, whether or not it is in the loss.
double balance_value(const std::vector<int64_t>& counts_E, const std::vector<double>& prob_sum_E);
/// Highest less lowest bias.
double bias_range(const std::vector<double>& bias_E);

/// Names of semantics section 5 → one value per MoE layer.
using LayerMetrics = std::map<std::string, std::vector<double>>;

/// Metrics of an optimizer step, those of evaluations too except max_vio and max_vio_micro (mean
/// over micro-batches); docs/metrics.md has them all. A metric that has no meaning for a router
/// (no probabilities, no bias, one domain) is NaN.
LayerMetrics step_metrics(const std::vector<LayerSums>& layers, int64_t top_k);
/// What step_metrics and evaluation_metrics share.
LayerMetrics shared_metrics(const std::vector<LayerSums>& layers, int64_t top_k);
/// The report's `load`: counts per expert of each layer.
std::vector<std::vector<int64_t>> load_of(const std::vector<LayerSums>& layers);
/// The report's `received`: tokens that the experts of each rank served, of each layer.
std::vector<std::vector<int64_t>> received_of(const std::vector<LayerSums>& layers);

/// Loads of the last steps, for dead_experts. Its two tensors are its whole state: save them, and
/// load into them.
class LoadWindow {
 public:
  /// `experts`: number of experts of each layer.
  explicit LoadWindow(const std::vector<int64_t>& experts, int64_t steps = 100);
  void add(const std::vector<std::vector<int64_t>>& load);
  /// Per layer: experts with less than 1 % of the mean load of the steps so far, at most the last
  /// 100.
  std::vector<double> dead_experts() const;

  const at::Tensor& ring() const { return ring_; }    ///< int64 [steps, layers, most E], 0 beyond
  const at::Tensor& added() const { return added_; }  ///< int64 [1], steps added so far

 private:
  std::vector<int64_t> experts_;
  at::Tensor ring_, added_;
};

}  // namespace switchyard
