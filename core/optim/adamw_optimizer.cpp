#include <ATen/ATen.h>

#include <algorithm>

#include "core/kernels/adamw.h"
#include "core/optim/optimizer.h"

namespace switchyard {
namespace {

class AdamWOptimizer final : public Optimizer {
 public:
  AdamWOptimizer(const OptimOptions& options, std::vector<FlatBucket*> buckets)
      : options_(options), num_updates_(at::zeros({}, at::kLong)) {
    for (FlatBucket* bucket : buckets)
      moments_.push_back({bucket, at::zeros_like(bucket->data), at::zeros_like(bucket->data)});
  }

  void step(double lr, double grad_scale) override {
    num_updates_ += 1;
    AdamWStep update;
    update.lr = lr;
    update.beta1 = options_.betas[0];
    update.beta2 = options_.betas[1];
    update.eps = options_.eps;
    update.step = num_updates_.item<int64_t>();
    update.grad_scale = grad_scale;
    for (Moments& moments : moments_) {
      const int64_t decayed = moments.bucket->num_decayed();
      update.weight_decay = options_.weight_decay;
      apply(moments, 0, decayed, update);
      update.weight_decay = 0;
      apply(moments, decayed, moments.bucket->data.numel() - decayed, update);
    }
  }

  std::vector<std::pair<std::string, at::Tensor>> states(size_t bucket) override {
    return {{"exp_avg", moments_[bucket].exp_avg}, {"exp_avg_sq", moments_[bucket].exp_avg_sq}};
  }

  at::Tensor num_updates() override { return num_updates_; }

 private:
  struct Moments {
    FlatBucket* bucket;
    at::Tensor exp_avg, exp_avg_sq;
  };

  static void apply(Moments& moments, int64_t first, int64_t size, const AdamWStep& update) {
    if (size == 0) return;
    adamw_(moments.bucket->data.narrow(0, first, size), moments.bucket->grad.narrow(0, first, size),
           moments.exp_avg.narrow(0, first, size), moments.exp_avg_sq.narrow(0, first, size),
           update);
  }

  OptimOptions options_;
  std::vector<Moments> moments_;
  at::Tensor num_updates_;
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimOptions& options,
                                          std::vector<FlatBucket*> buckets) {
  return std::make_unique<AdamWOptimizer>(options, std::move(buckets));
}

double clip_scale(double norm, double clip_norm) {
  return clip_norm > 0 ? std::min(1.0, clip_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace switchyard
