#include "core/metrics/layer_sums.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/any.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/max.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/xlogy.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <numeric>
#include <utility>

#include "core/base/error.h"
#include "core/metrics/flat_parts.h"

namespace switchyard {
namespace {

// In order: kept, tokens, tokens without expert, device pairs, repeats, neighbours, moved, biased
// tokens.
constexpr int64_t kIntegerScalars = 8;
constexpr int64_t kRealScalars = 2;  // entropy, z
constexpr double kLowest = -std::numeric_limits<double>::infinity();

/// Neighbours in a sequence that both have a first expert: those with the same one, and all.
std::pair<at::Tensor, at::Tensor> repetition(const RoutingDecision& decision, int64_t length) {
  if (length < 2) {
    const auto none = at::zeros({}, decision.expert_ids_TK.options());
    return {none, none};
  }
  const auto first_SL = decision.first_selection_TK().select(1, 0).reshape({-1, length});
  const auto before = first_SL.narrow(1, 0, length - 1), after = first_SL.narrow(1, 1, length - 1);
  const auto chosen = before.ge(0).logical_and_(after.ge(0));
  return {before.eq(after).logical_and_(chosen).sum(), chosen.sum()};
}

}  // namespace

std::vector<int64_t> LayerSums::counts_E() const {
  std::vector<int64_t> sum;
  for (const auto& counts : counts_ME) {
    sum.resize(counts.size(), 0);
    for (size_t e = 0; e < counts.size(); ++e) sum[e] += counts[e];
  }
  return sum;
}

RoutingSums::RoutingSums(const Shape& shape, at::Device device) : shape_(shape) {
  const auto integers = at::TensorOptions().dtype(at::kLong).device(device);
  const auto reals = integers.dtype(at::kDouble);
  const auto layers = static_cast<int64_t>(shape.experts.size());
  const auto experts = std::accumulate(shape.experts.begin(), shape.experts.end(), int64_t{0});
  const int64_t rows = shape.micro_batches + shape.domains + 1;
  integers_ = at::zeros({rows * experts + layers * (shape.num_ranks + kIntegerScalars)}, integers);
  reals_ = at::zeros({experts + layers * kRealScalars}, reals);
  maxima_ = at::full({layers}, kLowest, reals);
  views_ = cut(integers_, reals_, maxima_);
}

std::vector<RoutingSums::Views> RoutingSums::cut(const at::Tensor& integers,
                                                 const at::Tensor& reals,
                                                 const at::Tensor& maxima) const {
  FlatParts from_integers(integers), from_reals(reals), from_maxima(maxima);
  std::vector<Views> all;
  for (const int64_t experts : shape_.experts) {
    Views& views = all.emplace_back();
    views.counts_ME = from_integers.take({shape_.micro_batches, experts});
    views.domain_counts_DE = from_integers.take({shape_.domains, experts});
    views.computed_E = from_integers.take({experts});
    views.received_N = from_integers.take({shape_.num_ranks});
    views.integer_scalars = from_integers.take({kIntegerScalars});
    views.prob_sum_E = from_reals.take({experts});
    views.real_scalars = from_reals.take({kRealScalars});
    views.logit_max = from_maxima.take({1});
  }
  return all;
}

void RoutingSums::set_placement(const std::vector<at::Tensor>& device_E, int64_t num_devices) {
  SWITCHYARD_CHECK(device_E.size() == shape_.experts.size());
  device_E_.clear();
  some_nowhere_ = false;
  for (const auto& layer : device_E) {
    device_E_.push_back(layer.to(integers_.device()));
    some_nowhere_ = some_nowhere_ || at::any(layer.lt(0)).item<bool>();
  }
  num_devices_ = num_devices;
}

void RoutingSums::reset() {
  integers_.zero_();
  reals_.zero_();
  maxima_.fill_(kLowest);
}

at::Tensor RoutingSums::device_pairs(int64_t layer, const RoutingDecision& decision,
                                     const at::Tensor& served_T) const {
  if (num_devices_ == 1 && !some_nowhere_) return served_T.sum();
  const auto ids_TK = decision.expert_ids_TK.clamp_min(0);
  const auto device_TK = device_E_[layer].index_select(0, ids_TK.flatten()).view_as(ids_TK);
  auto uses = at::zeros({ids_TK.size(0), num_devices_}, ids_TK.options());
  const auto used_TK = decision.kept_TK.logical_and(device_TK.ge(0));
  uses.scatter_add_(1, device_TK.clamp_min(0), used_TK.to(at::kLong));
  return uses.gt(0).sum();
}

void RoutingSums::accumulate(int64_t layer, const ExpertWork& work) {
  const at::NoGradGuard no_grad;
  if (work.computed_E.defined()) views_[layer].computed_E.add_(work.computed_E);
  if (work.received.defined()) views_[layer].received_N[shape_.rank].add_(work.received);
}

void RoutingSums::accumulate(int64_t layer, int64_t micro, const RoutingDecision& decision,
                             const TokenFacts& tokens) {
  const int64_t num_tokens = decision.expert_ids_TK.size(0);
  if (num_tokens == 0) return;
  const at::NoGradGuard no_grad;
  Views& views = views_[layer];
  views.counts_ME[micro].add_(decision.counts_E);

  if (tokens.domain_T.defined()) {
    const at::Tensor& ids_TK = decision.first_selection_TK();
    const auto index_TK =
        ids_TK.clamp_min(0).add(tokens.domain_T.mul(shape_.experts[layer]).unsqueeze(1));
    views.domain_counts_DE.view(-1).scatter_add_(0, index_TK.flatten(),
                                                 ids_TK.ge(0).to(at::kLong).flatten());
  }

  const auto served_T = at::any(decision.kept_TK, 1);
  const auto number = [&](int64_t value) { return at::full({}, value, integers_.options()); };
  const auto [repeats, neighbours] = repetition(decision, tokens.sequence_length);
  const bool biased = decision.moved.defined();
  views.integer_scalars.add_(
      at::stack({decision.kept_TK.sum(), number(num_tokens), served_T.logical_not().sum(),
                 device_pairs(layer, decision, served_T), repeats, neighbours,
                 biased ? decision.moved : number(0), number(biased ? num_tokens : 0)}));

  if (decision.probs_TE.defined()) {
    views.prob_sum_E.add_(at::sum(decision.probs_TE, {0}, false, at::kDouble));
    const at::Tensor p_TE = decision.probs_TE;
    views.real_scalars[0].sub_(at::sum(at::xlogy(p_TE, p_TE), at::kDouble));
  }
  if (decision.logits_TE.defined()) {
    const auto z = at::logsumexp(decision.logits_TE, {1}).to(at::kDouble);
    views.real_scalars[1].add_(z.square().sum());
    views.logit_max.copy_(views.logit_max.maximum(at::max(decision.logits_TE).to(at::kDouble)));
  }
}

std::vector<LayerSums> RoutingSums::layers() const {
  std::vector<LayerSums> all;
  for (const Views& views : cut(integers_.cpu(), reals_.cpu(), maxima_.cpu())) {
    LayerSums& sums = all.emplace_back();
    sums.counts_ME = rows_of<int64_t>(views.counts_ME);
    sums.domain_counts_DE = rows_of<int64_t>(views.domain_counts_DE);
    const auto* scalars = views.integer_scalars.const_data_ptr<int64_t>();
    sums.kept = scalars[0];
    sums.tokens = scalars[1];
    sums.tokens_without_expert = scalars[2];
    sums.device_pairs = scalars[3];
    sums.repeats = scalars[4];
    sums.neighbours = scalars[5];
    sums.moved = scalars[6];
    sums.biased_tokens = scalars[7];
    sums.computed_E = values_of<int64_t>(views.computed_E);
    sums.received_N = values_of<int64_t>(views.received_N);
    sums.prob_sum_E = values_of<double>(views.prob_sum_E);
    const auto* reals = views.real_scalars.const_data_ptr<double>();
    sums.entropy_sum = reals[0];
    sums.z_sum = reals[1];
    sums.logit_max = *views.logit_max.const_data_ptr<double>();
  }
  return all;
}

}  // namespace switchyard
