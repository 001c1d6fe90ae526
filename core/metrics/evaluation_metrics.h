#pragma once

#include <vector>

#include "core/metrics/evaluation_sums.h"
#include "core/metrics/routing_metrics.h"

namespace switchyard {

/// N_ij/N_i: share of the tokens of expert i that go to expert j as well (Muennighoff 2024,
/// equation 6); 1 on the diagonal, NaN in the row of an expert without tokens.
std::vector<std::vector<double>> co_activation(
    const std::vector<std::vector<int64_t>>& pair_counts_EE);
/// Mean of N_ij/N_i over the pairs i ≠ j with N_i > 0; (K−1)/(E−1) wherever every token has K
/// experts. NaN for one expert.
double mean_co_activation(const std::vector<std::vector<int64_t>>& pair_counts_EE);
/// Mean over the experts with tokens of the largest N_ij/N_i: (K−1)/(E−1) for pairs by chance, 1
/// where each expert always comes with the same other.
double closest_co_activation(const std::vector<std::vector<int64_t>>& pair_counts_EE);

/// Smallest value over the median; the median of an even number is the mean of the middle two. NaN
/// without values or with a median of 0.
double min_over_median(std::vector<double> values);

/// Metrics of a whole evaluation: shared_metrics, max_vio_global, dead_experts over the set,
/// token_mi, co_activation (mean over pairs), co_activation_max, top_k_gap,
/// activation_rms_min_over_median, weight_norm_min_over_median. docs/metrics.md has them all.
/// `details` has one entry for each of `layers`.
LayerMetrics evaluation_metrics(const std::vector<LayerSums>& layers,
                                const std::vector<EvaluationLayer>& details, int64_t top_k);

}  // namespace switchyard
