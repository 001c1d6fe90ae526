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

#include <limits>
#include <numeric>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr int64_t kIntegerScalars = 4;  // kept, tokens, tokens without expert, device pairs
constexpr int64_t kRealScalars = 2;     // entropy, z
constexpr double kLowest = -std::numeric_limits<double>::infinity();

std::vector<int64_t> numbers(const at::Tensor& row) {
  const auto* from = row.const_data_ptr<int64_t>();
  return {from, from + row.numel()};
}

std::vector<std::vector<int64_t>> rows(const at::Tensor& table) {
  std::vector<std::vector<int64_t>> result;
  for (int64_t i = 0; i < table.size(0); ++i) result.push_back(numbers(table[i]));
  return result;
}

/// Takes tensors off the front of a flat one.
class Cutter {
 public:
  explicit Cutter(const at::Tensor& flat) : flat_(flat) {}
  at::Tensor take(at::IntArrayRef shape) {
    const int64_t size = c10::multiply_integers(shape);
    const int64_t from = next_;
    next_ += size;
    return flat_.narrow(0, from, size).view(shape);
  }

 private:
  const at::Tensor& flat_;
  int64_t next_ = 0;
};

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
  const int64_t rows = shape.micro_batches + shape.domains;
  integers_ = at::zeros({rows * experts + layers * kIntegerScalars}, integers);
  reals_ = at::zeros({experts + layers * kRealScalars}, reals);
  maxima_ = at::full({layers}, kLowest, reals);
  views_ = cut(integers_, reals_, maxima_);
}

std::vector<RoutingSums::Views> RoutingSums::cut(const at::Tensor& integers,
                                                 const at::Tensor& reals,
                                                 const at::Tensor& maxima) const {
  Cutter from_integers(integers), from_reals(reals), from_maxima(maxima);
  std::vector<Views> all;
  for (const int64_t experts : shape_.experts) {
    Views& views = all.emplace_back();
    views.counts_ME = from_integers.take({shape_.micro_batches, experts});
    views.domain_counts_DE = from_integers.take({shape_.domains, experts});
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
  for (const auto& layer : device_E) device_E_.push_back(layer.to(integers_.device()));
  num_devices_ = num_devices;
}

void RoutingSums::reset() {
  integers_.zero_();
  reals_.zero_();
  maxima_.fill_(kLowest);
}

at::Tensor RoutingSums::device_pairs(int64_t layer, const RoutingDecision& decision,
                                     const at::Tensor& served_T) const {
  if (num_devices_ == 1) return served_T.sum();
  const auto ids_TK = decision.expert_ids_TK.clamp_min(0);
  const auto device_TK = device_E_[layer].index_select(0, ids_TK.flatten()).view_as(ids_TK);
  auto uses = at::zeros({ids_TK.size(0), num_devices_}, ids_TK.options());
  uses.scatter_add_(1, device_TK, decision.kept_TK.to(at::kLong));
  return uses.gt(0).sum();
}

void RoutingSums::accumulate(int64_t layer, int64_t micro, const RoutingDecision& decision,
                             const at::Tensor& domain_T) {
  const int64_t tokens = decision.expert_ids_TK.size(0);
  if (tokens == 0) return;
  const at::NoGradGuard no_grad;
  Views& views = views_[layer];
  views.counts_ME[micro].add_(decision.counts_E);

  if (domain_T.defined()) {
    const auto index_TK =
        decision.expert_ids_TK.clamp_min(0).add(domain_T.mul(shape_.experts[layer]).unsqueeze(1));
    const auto selected_TK = decision.expert_ids_TK.ge(0).to(at::kLong);
    views.domain_counts_DE.view(-1).scatter_add_(0, index_TK.flatten(), selected_TK.flatten());
  }

  const auto served_T = at::any(decision.kept_TK, 1);
  const auto all = at::full({}, tokens, integers_.options());
  views.integer_scalars.add_(at::stack({decision.kept_TK.sum(), all, all.sub(served_T.sum()),
                                        device_pairs(layer, decision, served_T)}));

  if (decision.probs_TE.defined()) {
    views.prob_sum_E.add_(at::sum(decision.probs_TE, {0}, false, at::kDouble));
    views.real_scalars[0].add_(at::sum(at::special_entr(decision.probs_TE), at::kDouble));
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
    sums.counts_ME = rows(views.counts_ME);
    sums.domain_counts_DE = rows(views.domain_counts_DE);
    const auto* scalars = views.integer_scalars.const_data_ptr<int64_t>();
    sums.kept = scalars[0];
    sums.tokens = scalars[1];
    sums.tokens_without_expert = scalars[2];
    sums.device_pairs = scalars[3];
    const auto* probs = views.prob_sum_E.const_data_ptr<double>();
    sums.prob_sum_E.assign(probs, probs + views.prob_sum_E.numel());
    const auto* reals = views.real_scalars.const_data_ptr<double>();
    sums.entropy_sum = reals[0];
    sums.z_sum = reals[1];
    sums.logit_max = *views.logit_max.const_data_ptr<double>();
  }
  return all;
}

}  // namespace switchyard
