#include "parallel/data/gradient_reduction.h"

#include <algorithm>

#include "core/base/error.h"

namespace switchyard {
namespace {

/// The elements of `flat` that rank r of n sums.
at::Tensor share(const at::Tensor& flat, int64_t r, int64_t n) {
  const int64_t numel = flat.numel();
  const int64_t begin = numel * r / n, end = numel * (r + 1) / n;
  return flat.narrow(0, begin, end - begin);
}

/// Σ flat² in fp64, in pieces that bound the converted copy.
void add_squares(at::Tensor& total, const at::Tensor& flat) {
  constexpr int64_t kPiece = 1 << 18;
  for (int64_t begin = 0; begin < flat.numel(); begin += kPiece) {
    const int64_t count = std::min(kPiece, flat.numel() - begin);
    total.add_(flat.narrow(0, begin, count).to(at::kDouble).square().sum());
  }
}

}  // namespace

void GradientReduction::start(const GradientBucket& bucket) {
  SWITCHYARD_CHECK(bucket.flat.dim() == 1 && bucket.flat.is_contiguous());
  Communicator& group = bucket.expert ? mesh_.replica_group() : mesh_.world();
  started_.push_back(group.all_reduce({bucket.flat}, ReduceOp::kSum));
}

void GradientReduction::finish() {
  for (const WorkPtr& work : started_) work->wait();
  started_.clear();
}

double GradientReduction::global_squared_norm(const std::vector<GradientBucket>& buckets) const {
  at::NoGradGuard no_grad;
  const auto device = buckets.empty() ? at::Device(at::kCPU) : buckets[0].flat.device();
  at::Tensor total = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
  for (const GradientBucket& bucket : buckets) {
    const Communicator& group = bucket.expert ? mesh_.replica_group() : mesh_.world();
    add_squares(total, share(bucket.flat, group.rank(), group.size()));
  }
  mesh_.world().all_reduce({total}, ReduceOp::kSum)->wait();
  return total.item<double>();
}

}  // namespace switchyard
