#include "core/metrics/routing_metrics.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr double kDeadShare = 0.01;
constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

int64_t total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

double mean(const std::vector<int64_t>& counts) {
  return static_cast<double>(total(counts)) / static_cast<double>(counts.size());
}

/// NaN for 0/0.
double ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

double entropy_of_counts(const std::vector<int64_t>& counts) {
  return entropy({counts.begin(), counts.end()});
}

/// What a step and an evaluation share. `floor` is max_vio_floor of one token.
std::map<std::string, double> layer_metrics(const LayerSums& sums, double floor, int64_t top_k) {
  const auto counts = sums.counts_E();
  const int64_t selected = total(counts);
  const auto tokens = static_cast<double>(sums.tokens);
  const double prob_sum = std::accumulate(sums.prob_sum_E.begin(), sums.prob_sum_E.end(), 0.0);
  const bool has_probs = prob_sum != 0;
  const bool has_logits = sums.logit_max != -std::numeric_limits<double>::infinity();
  return {
      {"max_vio_floor", floor / std::sqrt(tokens)},
      {"load_cv", load_cv(counts)},
      {"load_entropy", load_entropy(counts)},
      {"load_max", load_max(counts)},
      {"load_min", load_min(counts)},
      {"router_entropy", has_probs ? sums.entropy_sum / tokens : kUndefined},
      {"router_entropy_marginal", has_probs ? entropy(sums.prob_sum_E) : kUndefined},
      {"drop_rate", 1.0 - ratio(sums.kept, selected)},
      {"tokens_without_expert", static_cast<double>(sums.tokens_without_expert)},
      {"domain_mi", domain_information(sums.domain_counts_DE)},
      {"domain_nmi", normalized_information(sums.domain_counts_DE)},
      {"repetition", ratio(sums.repeats, sums.neighbours)},
      {"intervention", ratio(sums.moved, top_k * sums.biased_tokens)},
      {"selected", static_cast<double>(selected)},
      {"kept", static_cast<double>(sums.kept)},
      {"computed", static_cast<double>(total(sums.computed_E))},
      {"router_logit_max", has_logits ? sums.logit_max : kUndefined},
      {"z", has_logits ? sums.z_sum / tokens : kUndefined},
      {"balance_value", has_probs ? balance_value(counts, sums.prob_sum_E) : kUndefined},
      {"devices_per_token", static_cast<double>(sums.device_pairs) / tokens},
  };
}

double mean_micro_vio(const LayerSums& sums) {
  double sum = 0;
  for (const auto& counts : sums.counts_ME) sum += max_vio(counts);
  return sum / static_cast<double>(sums.counts_ME.size());
}

/// max_vio_floor of one token, for each number of experts.
std::map<int64_t, double> floors_of(const std::vector<LayerSums>& layers, int64_t top_k) {
  std::map<int64_t, double> floors;
  for (const LayerSums& sums : layers) {
    const auto experts = static_cast<int64_t>(sums.prob_sum_E.size());
    if (floors.count(experts) == 0) floors[experts] = max_vio_floor(experts, top_k, 1);
  }
  return floors;
}

}  // namespace

double load_max(const std::vector<int64_t>& counts_E) {
  return static_cast<double>(*std::max_element(counts_E.begin(), counts_E.end())) / mean(counts_E);
}

double load_min(const std::vector<int64_t>& counts_E) {
  return static_cast<double>(*std::min_element(counts_E.begin(), counts_E.end())) / mean(counts_E);
}

double max_vio(const std::vector<int64_t>& counts_E) {
  return load_max(counts_E) - 1;
}

double load_cv(const std::vector<int64_t>& counts_E) {
  const double average = mean(counts_E);
  double squares = 0;
  for (const int64_t c : counts_E) squares += std::pow(static_cast<double>(c) - average, 2);
  return std::sqrt(squares / static_cast<double>(counts_E.size())) / average;
}

double load_entropy(const std::vector<int64_t>& counts_E) {
  if (counts_E.size() == 1) return 1;
  return entropy_of_counts(counts_E) / std::log(static_cast<double>(counts_E.size()));
}

int64_t dead_experts(const std::vector<int64_t>& counts_E) {
  const double least = kDeadShare * mean(counts_E);
  return std::count_if(counts_E.begin(), counts_E.end(),
                       [least](int64_t c) { return static_cast<double>(c) < least; });
}

double expected_normal_maximum(int64_t n) {
  // The trapezoidal rule converges exponentially for a smooth integrand that vanishes at both ends.
  constexpr double kStep = 1.0 / 64, kEnd = 12;
  double sum = 0;
  for (double x = -kEnd; x <= kEnd; x += kStep) {
    const double below = 0.5 * std::erfc(-x / std::numbers::sqrt2);
    sum += x * std::exp(-x * x / 2) * std::pow(below, static_cast<double>(n - 1));
  }
  return static_cast<double>(n) * sum * kStep / std::sqrt(2 * std::numbers::pi);
}

double max_vio_floor(int64_t num_experts, int64_t top_k, int64_t tokens) {
  if (num_experts == 1) return 0;
  const auto experts = static_cast<double>(num_experts);
  const auto chosen = static_cast<double>(std::min(top_k, num_experts));
  return expected_normal_maximum(num_experts) *
         std::sqrt(experts * (experts - chosen) /
                   ((experts - 1) * static_cast<double>(tokens) * chosen));
}

double entropy(const std::vector<double>& values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  if (!(sum > 0)) return kUndefined;
  double result = 0;
  for (const double value : values) {
    if (value > 0) result -= value / sum * std::log(value / sum);
  }
  return result;
}

double information(std::span<const int64_t> counts, int64_t experts) {
  const auto log_sum = [](int64_t count) {
    const auto c = static_cast<double>(count);
    return count > 0 ? c * std::log(c) : 0;
  };
  std::vector<int64_t> columns(static_cast<size_t>(experts), 0);
  double cells = 0, rows = 0;
  int64_t present = 0;
  for (auto row = counts.begin(); row != counts.end(); row += experts) {
    for (int64_t e = 0; e < experts; ++e) {
      columns[static_cast<size_t>(e)] += row[e];
      cells += log_sum(row[e]);
    }
    const int64_t in_row = std::accumulate(row, row + experts, int64_t{0});
    rows += log_sum(in_row);
    present += in_row > 0;
  }
  double columns_sum = 0;
  for (const int64_t count : columns) columns_sum += log_sum(count);
  const auto samples = static_cast<double>(total(columns));
  const double bias = static_cast<double>((present - 1) * (experts - 1)) / (2 * samples);
  return (cells - rows - columns_sum) / samples + std::log(samples) - bias;
}

double domain_information(const std::vector<std::vector<int64_t>>& counts_DE) {
  std::vector<int64_t> cells;
  for (const auto& counts : counts_DE) cells.insert(cells.end(), counts.begin(), counts.end());
  const size_t experts = counts_DE.empty() ? 0 : counts_DE.front().size();
  return information(cells, static_cast<int64_t>(experts));
}

double normalized_information(const std::vector<std::vector<int64_t>>& counts_DE) {
  std::vector<int64_t> domains, experts;
  for (const auto& counts : counts_DE) {
    domains.push_back(total(counts));
    experts.resize(counts.size(), 0);
    for (size_t e = 0; e < counts.size(); ++e) experts[e] += counts[e];
  }
  const double most = std::min(entropy_of_counts(domains), entropy_of_counts(experts));
  return most > 0 ? domain_information(counts_DE) / most : kUndefined;
}

double balance_value(const std::vector<int64_t>& counts_E, const std::vector<double>& prob_sum_E) {
  const double prob_sum = std::accumulate(prob_sum_E.begin(), prob_sum_E.end(), 0.0);
  double sum = 0;
  for (size_t e = 0; e < counts_E.size(); ++e) {
    sum += static_cast<double>(counts_E[e]) * prob_sum_E[e];
  }
  return static_cast<double>(counts_E.size()) * sum /
         (static_cast<double>(total(counts_E)) * prob_sum);
}

double bias_range(const std::vector<double>& bias_E) {
  const auto [low, high] = std::minmax_element(bias_E.begin(), bias_E.end());
  return *high - *low;
}

LayerMetrics shared_metrics(const std::vector<LayerSums>& layers, int64_t top_k) {
  LayerMetrics metrics;
  const auto floors = floors_of(layers, top_k);
  for (const LayerSums& sums : layers) {
    const double floor = floors.at(static_cast<int64_t>(sums.prob_sum_E.size()));
    for (const auto& [name, value] : layer_metrics(sums, floor, top_k))
      metrics[name].push_back(value);
  }
  return metrics;
}

LayerMetrics step_metrics(const std::vector<LayerSums>& layers, int64_t top_k) {
  LayerMetrics metrics = shared_metrics(layers, top_k);
  for (const LayerSums& sums : layers) {
    metrics["max_vio"].push_back(max_vio(sums.counts_E()));
    metrics["max_vio_micro"].push_back(mean_micro_vio(sums));
  }
  return metrics;
}

std::vector<std::vector<int64_t>> load_of(const std::vector<LayerSums>& layers) {
  std::vector<std::vector<int64_t>> load;
  for (const LayerSums& sums : layers) load.push_back(sums.counts_E());
  return load;
}

std::vector<std::vector<int64_t>> received_of(const std::vector<LayerSums>& layers) {
  std::vector<std::vector<int64_t>> received;
  for (const LayerSums& sums : layers) received.push_back(sums.received_N);
  return received;
}

LoadWindow::LoadWindow(const std::vector<int64_t>& experts, int64_t steps)
    : experts_(experts), added_(at::zeros({1}, at::kLong)) {
  const auto most = std::max_element(experts.begin(), experts.end());
  const auto layers = static_cast<int64_t>(experts.size());
  ring_ = at::zeros({steps, layers, most == experts.end() ? 0 : *most}, at::kLong);
}

void LoadWindow::add(const std::vector<std::vector<int64_t>>& load) {
  const int64_t layers = ring_.size(1), most = ring_.size(2);
  SWITCHYARD_CHECK(static_cast<int64_t>(load.size()) == layers);
  auto* added = added_.mutable_data_ptr<int64_t>();
  auto* row = ring_.mutable_data_ptr<int64_t>() + (*added % ring_.size(0)) * layers * most;
  for (size_t layer = 0; layer < load.size(); ++layer, row += most) {
    SWITCHYARD_CHECK(static_cast<int64_t>(load[layer].size()) == experts_[layer]);
    std::copy(load[layer].begin(), load[layer].end(), row);
  }
  ++*added;
}

std::vector<double> LoadWindow::dead_experts() const {
  const int64_t layers = ring_.size(1), most = ring_.size(2);
  const auto* counts = ring_.const_data_ptr<int64_t>();
  std::vector<double> dead;
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::vector<int64_t> sum(static_cast<size_t>(experts_[static_cast<size_t>(layer)]), 0);
    for (int64_t step = 0; step < ring_.size(0); ++step) {
      const auto* row = counts + (step * layers + layer) * most;
      for (size_t e = 0; e < sum.size(); ++e) sum[e] += row[e];
    }
    dead.push_back(static_cast<double>(switchyard::dead_experts(sum)));
  }
  return dead;
}

}  // namespace switchyard
