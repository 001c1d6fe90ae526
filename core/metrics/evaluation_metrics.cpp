#include "core/metrics/evaluation_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double token_information(const EvaluationLayer& layer) {
  const auto experts = static_cast<int64_t>(layer.pair_counts_EE.size());
  return layer.token_counts.empty() ? kUndefined : information(layer.token_counts, experts);
}

/// Root mean square of the outputs of each expert that has weights; 0 for one that did nothing.
std::vector<double> activation_rms(const LayerSums& sums, const EvaluationLayer& layer) {
  std::vector<double> rms;
  for (size_t e = 0; e < sums.computed_E.size(); ++e) {
    if (!std::isfinite(layer.weight_norm_E[e])) continue;
    const auto rows = static_cast<double>(sums.computed_E[e]);
    rms.push_back(rows > 0 ? std::sqrt(layer.mean_square_sum_E[e] / rows) : 0);
  }
  return rms;
}

std::vector<double> weight_norms(const EvaluationLayer& layer) {
  std::vector<double> norms;
  for (const double norm : layer.weight_norm_E)
    if (std::isfinite(norm)) norms.push_back(norm);
  return norms;
}

}  // namespace

std::vector<std::vector<double>> co_activation(
    const std::vector<std::vector<int64_t>>& pair_counts_EE) {
  std::vector<std::vector<double>> shares;
  for (size_t i = 0; i < pair_counts_EE.size(); ++i) {
    auto& row = shares.emplace_back();
    for (const int64_t count : pair_counts_EE[i])
      row.push_back(static_cast<double>(count) / static_cast<double>(pair_counts_EE[i][i]));
  }
  return shares;
}

double mean_co_activation(const std::vector<std::vector<int64_t>>& pair_counts_EE) {
  const auto shares = co_activation(pair_counts_EE);
  double sum = 0, pairs = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    for (size_t j = 0; j < shares.size(); ++j) {
      if (i == j || pair_counts_EE[i][i] == 0) continue;
      sum += shares[i][j];
      ++pairs;
    }
  }
  return sum / pairs;
}

double closest_co_activation(const std::vector<std::vector<int64_t>>& pair_counts_EE) {
  if (pair_counts_EE.size() < 2) return kUndefined;
  const auto shares = co_activation(pair_counts_EE);
  double sum = 0, rows = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    if (pair_counts_EE[i][i] == 0) continue;
    double largest = 0;
    for (size_t j = 0; j < shares.size(); ++j)
      if (i != j) largest = std::max(largest, shares[i][j]);
    sum += largest;
    ++rows;
  }
  return sum / rows;
}

double min_over_median(std::vector<double> values) {
  if (values.empty()) return kUndefined;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return median > 0 ? values.front() / median : kUndefined;
}

LayerMetrics evaluation_metrics(const std::vector<LayerSums>& layers,
                                const std::vector<EvaluationLayer>& details, int64_t top_k) {
  SWITCHYARD_CHECK(layers.size() == details.size());
  LayerMetrics metrics = shared_metrics(layers, top_k);
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerSums& sums = layers[i];
    const EvaluationLayer& layer = details[i];
    const std::pair<const char*, double> values[] = {
        {"max_vio_global", max_vio(sums.counts_E())},
        {"dead_experts", static_cast<double>(dead_experts(sums.counts_E()))},
        {"token_mi", token_information(layer)},
        {"co_activation", mean_co_activation(layer.pair_counts_EE)},
        {"co_activation_max", closest_co_activation(layer.pair_counts_EE)},
        {"top_k_gap", layer.gap_sum / static_cast<double>(layer.gap_tokens)},
        {"activation_rms_min_over_median", min_over_median(activation_rms(sums, layer))},
        {"weight_norm_min_over_median", min_over_median(weight_norms(layer))}};
    for (const auto& [name, value] : values) metrics[name].push_back(value);
  }
  return metrics;
}

}  // namespace switchyard
