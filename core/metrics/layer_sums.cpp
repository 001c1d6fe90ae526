#include "core/metrics/layer_sums.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/any.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/max.h>
#include <ATen/ops/special_entr.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr int64_t kIntegerScalars = 4;  // kept, tokens, tokens without expert, device pairs
constexpr int64_t kRealScalars = 2;     // entropy, z
constexpr double kLowest = -std::numeric_limits<double>::infinity();

std::vector<int64_t> slice(const int64_t* from, int64_t count) {
  return {from, from + count};
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
  const int64_t rows = shape.micro_batches + shape.domains;
  integers_ = at::zeros({shape.layers, rows * shape.experts + kIntegerScalars}, integers);
  reals_ = at::zeros({shape.layers, shape.experts + kRealScalars}, reals);
  maxima_ = at::full({shape.layers, 1}, kLowest, reals);
}

void RoutingSums::set_placement(const at::Tensor& device_E, int64_t num_devices) {
  device_E_ = device_E.to(integers_.device());
  num_devices_ = num_devices;
}

void RoutingSums::reset() {
  integers_.zero_();
  reals_.zero_();
  maxima_.fill_(kLowest);
}

at::Tensor RoutingSums::device_pairs(const RoutingDecision& decision,
                                     const at::Tensor& served_T) const {
  if (num_devices_ == 1) return served_T.sum();
  const auto ids_TK = decision.expert_ids_TK.clamp_min(0);
  const auto device_TK = device_E_.index_select(0, ids_TK.flatten()).view_as(ids_TK);
  auto uses = at::zeros({ids_TK.size(0), num_devices_}, ids_TK.options());
  uses.scatter_add_(1, device_TK, decision.kept_TK.to(at::kLong));
  return uses.gt(0).sum();
}

void RoutingSums::accumulate(int64_t layer, int64_t micro, const RoutingDecision& decision,
                             const at::Tensor& domain_T) {
  const int64_t tokens = decision.expert_ids_TK.size(0);
  if (tokens == 0) return;
  const at::NoGradGuard no_grad;
  const int64_t experts = shape_.experts;
  const auto integers = integers_[layer];
  integers.narrow(0, micro * experts, experts).add_(decision.counts_E);

  if (domain_T.defined()) {
    const auto index_TK =
        decision.expert_ids_TK.clamp_min(0).add(domain_T.mul(experts).unsqueeze(1));
    const auto selected_TK = decision.expert_ids_TK.ge(0).to(at::kLong);
    integers.narrow(0, shape_.micro_batches * experts, shape_.domains * experts)
        .scatter_add_(0, index_TK.flatten(), selected_TK.flatten());
  }

  const auto served_T = at::any(decision.kept_TK, 1);
  const auto all = at::full({}, tokens, integers.options());
  const auto scalars = at::stack(
      {decision.kept_TK.sum(), all, all.sub(served_T.sum()), device_pairs(decision, served_T)});
  integers.narrow(0, integers.size(0) - kIntegerScalars, kIntegerScalars).add_(scalars);

  const auto reals = reals_[layer];
  if (decision.probs_TE.defined()) {
    reals.narrow(0, 0, experts).add_(at::sum(decision.probs_TE, {0}, false, at::kDouble));
    reals[experts].add_(at::sum(at::special_entr(decision.probs_TE), at::kDouble));
  }
  if (decision.logits_TE.defined()) {
    const auto z = at::logsumexp(decision.logits_TE, {1}).to(at::kDouble);
    reals[experts + 1].add_(z.square().sum());
    const auto highest = maxima_[layer];
    highest.copy_(highest.maximum(at::max(decision.logits_TE).to(at::kDouble)));
  }
}

std::vector<LayerSums> RoutingSums::layers() const {
  const auto integers = integers_.cpu();
  const auto reals = reals_.cpu();
  const auto maxima = maxima_.cpu();
  const int64_t experts = shape_.experts;
  std::vector<LayerSums> all(shape_.layers);
  for (int64_t layer = 0; layer < shape_.layers; ++layer) {
    LayerSums& sums = all[layer];
    const int64_t* from = integers.const_data_ptr<int64_t>() + layer * integers.size(1);
    for (int64_t m = 0; m < shape_.micro_batches; ++m, from += experts) {
      sums.counts_ME.push_back(slice(from, experts));
    }
    for (int64_t d = 0; d < shape_.domains; ++d, from += experts) {
      sums.domain_counts_DE.push_back(slice(from, experts));
    }
    sums.kept = from[0];
    sums.tokens = from[1];
    sums.tokens_without_expert = from[2];
    sums.device_pairs = from[3];
    const double* real = reals.const_data_ptr<double>() + layer * reals.size(1);
    sums.prob_sum_E.assign(real, real + experts);
    sums.entropy_sum = real[experts];
    sums.z_sum = real[experts + 1];
    sums.logit_max = maxima.const_data_ptr<double>()[layer];
  }
  return all;
}

}  // namespace switchyard
