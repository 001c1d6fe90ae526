#include "core/optim/optimizer.h"

#include <catch2/catch.hpp>

using namespace switchyard;

TEST_CASE("Parameters and gradients are views of their bucket, decayed ones first") {
  torch::Tensor bias = torch::ones({3}, torch::requires_grad());
  torch::Tensor weight = torch::full({2, 3}, 2.0, torch::requires_grad());

  FlatBucket bucket({{"bias", bias}, {"weight", weight}});

  CHECK(bucket.num_decayed() == 6);
  CHECK(bucket.ranges()[0].name == "weight");
  CHECK(weight.data_ptr() == bucket.data.data_ptr());
  CHECK(weight[1][2].item<float>() == 2.0f);
  (weight.sum() * 3 + bias.sum()).backward();
  CHECK(bucket.grad.sum().item<float>() == 6 * 3 + 3);
  bucket.zero_grad();
  CHECK(weight.grad().abs().sum().item<float>() == 0.0f);
}

TEST_CASE("AdamW over buckets equals LibTorch's on separate tensors") {
  torch::manual_seed(1);
  const auto w0 = torch::randn({5, 7}), b0 = torch::randn({7});
  torch::Tensor w = w0.clone().set_requires_grad(true), b = b0.clone().set_requires_grad(true);
  torch::Tensor w2 = w0.clone().set_requires_grad(true), b2 = b0.clone().set_requires_grad(true);
  OptimOptions options;
  options.weight_decay = 0.1;
  FlatBucket bucket({{"w", w}, {"b", b}});
  auto ours = make_optimizer(options, {&bucket});
  torch::optim::AdamWOptions theirs_options(1e-2);
  theirs_options.betas({0.9, 0.95}).eps(1e-8);
  theirs_options.weight_decay(0.1);
  torch::optim::AdamW decayed({w2}, theirs_options);
  theirs_options.weight_decay(0.0);
  torch::optim::AdamW plain({b2}, theirs_options);

  for (int step = 0; step < 5; ++step) {
    const auto x = torch::randn({4, 5});
    bucket.zero_grad();
    (torch::tanh(x.matmul(w)) + b).square().sum().backward();
    decayed.zero_grad();
    plain.zero_grad();
    (torch::tanh(x.matmul(w2)) + b2).square().sum().backward();
    ours->step(1e-2, 1.0);
    decayed.step();
    plain.step();
  }

  CHECK((w - w2).abs().max().item<double>() < 1e-6);
  CHECK((b - b2).abs().max().item<double>() < 1e-6);
  CHECK(ours->num_updates().item<int64_t>() == 5);
}

TEST_CASE("Clipping scales by the norm only when it is over the limit") {
  CHECK(clip_scale(0.5, 1.0) == 1.0);
  CHECK(clip_scale(4.0, 1.0) == Approx(0.25).epsilon(1e-5));
  CHECK(clip_scale(4.0, 0.0) == 1.0);
}
