#include "core/metrics/evaluation_sums.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <numeric>

#include "core/metrics/flat_parts.h"

namespace switchyard {

EvaluationSums::EvaluationSums(const Shape& shape, at::Device device) : shape_(shape) {
  const auto experts = std::accumulate(shape.experts.begin(), shape.experts.end(), int64_t{0});
  if (shape_.vocab_size * experts > kMostTokenCells) shape_.vocab_size = 0;
  int64_t pairs = 0;
  for (const int64_t e : shape.experts) pairs += e * e;
  const auto layers = static_cast<int64_t>(shape.experts.size());
  const auto options = at::TensorOptions().device(device);
  integers_ = at::zeros({shape_.vocab_size * experts + pairs + layers}, options.dtype(at::kLong));
  reals_ = at::zeros({experts + layers}, options.dtype(at::kDouble));
  maxima_ =
      at::full({experts}, -std::numeric_limits<double>::infinity(), options.dtype(at::kDouble));
  views_ = cut(integers_, reals_, maxima_);
}

std::vector<EvaluationSums::Views> EvaluationSums::cut(const at::Tensor& integers,
                                                       const at::Tensor& reals,
                                                       const at::Tensor& maxima) const {
  FlatParts from_integers(integers), from_reals(reals), from_maxima(maxima);
  std::vector<Views> all;
  for (const int64_t experts : shape_.experts) {
    Views& views = all.emplace_back();
    views.token_counts = from_integers.take({shape_.vocab_size * experts});
    views.pair_counts_EE = from_integers.take({experts, experts});
    views.gap_tokens = from_integers.take({1});
    views.mean_square_sum_E = from_reals.take({experts});
    views.gap_sum = from_reals.take({1});
    views.weight_norm_E = from_maxima.take({experts});
  }
  return all;
}

void EvaluationSums::add_gap(Views& views, const at::Tensor& ranking_TE) const {
  if (shape_.top_k >= ranking_TE.size(1)) return;
  const auto best_TK = std::get<0>(at::topk(ranking_TE.to(at::kDouble), shape_.top_k + 1, 1));
  const auto gap_T = best_TK.select(1, shape_.top_k - 1).sub(best_TK.select(1, shape_.top_k));
  const auto both_T = gap_T.isfinite();  // a key of −inf is an expert that the token may not have
  views.gap_sum.add_(gap_T.masked_fill(both_T.logical_not(), 0).sum());
  views.gap_tokens.add_(both_T.sum());
}

void EvaluationSums::accumulate(int64_t layer, const RoutingDecision& decision,
                                const ExpertWork& work, const at::Tensor& token_T) {
  const at::NoGradGuard no_grad;
  Views& views = views_[layer];
  if (work.mean_square_sum_E.defined()) views.mean_square_sum_E.add_(work.mean_square_sum_E);
  const auto& ids_TK = decision.first_selection_TK();
  if (ids_TK.size(0) == 0) return;
  const int64_t experts = shape_.experts[layer];

  // Column 0 takes what is no choice. Products of zeros and ones are exact up to 2^53 tokens.
  const auto shifted_TK = ids_TK.add(1);
  auto chosen_TE = at::zeros({ids_TK.size(0), experts + 1}, reals_.options());
  chosen_TE.scatter_(1, shifted_TK, 1.0);
  chosen_TE = chosen_TE.narrow(1, 1, experts);
  views.pair_counts_EE.add_(at::mm(chosen_TE.t(), chosen_TE).to(at::kLong));

  if (shape_.vocab_size > 0) {
    const auto cell_TK = token_T.mul(experts).unsqueeze(1).add(ids_TK.clamp_min(0));
    views.token_counts.scatter_add_(0, cell_TK.flatten(), ids_TK.ge(0).to(at::kLong).flatten());
  }
  if (decision.ranking_TE.defined()) add_gap(views, decision.ranking_TE);
}

void EvaluationSums::set_weight_norms(int64_t layer, const at::Tensor& norms_E) {
  views_[layer].weight_norm_E.copy_(norms_E);
}

std::vector<EvaluationLayer> EvaluationSums::layers() const {
  std::vector<EvaluationLayer> all;
  for (const Views& views : cut(integers_.cpu(), reals_.cpu(), maxima_.cpu())) {
    EvaluationLayer& layer = all.emplace_back();
    layer.token_counts = values_of<int64_t>(views.token_counts);
    layer.pair_counts_EE = rows_of<int64_t>(views.pair_counts_EE);
    layer.gap_sum = *views.gap_sum.const_data_ptr<double>();
    layer.gap_tokens = *views.gap_tokens.const_data_ptr<int64_t>();
    layer.mean_square_sum_E = values_of<double>(views.mean_square_sum_E);
    layer.weight_norm_E = values_of<double>(views.weight_norm_E);
  }
  return all;
}

}  // namespace switchyard
