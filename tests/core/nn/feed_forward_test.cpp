#include "core/nn/feed_forward.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>

#include "core/nn/rms_norm.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

TEST_CASE("FeedForward is down(silu(gate x) * up x)") {
  torch::manual_seed(3);
  FeedForward layer(6, 5);
  layer->to(at::kDouble);
  const torch::NoGradGuard no_grad;
  layer->gate_up.normal_();
  layer->down.normal_();
  const at::Tensor x = torch::randn({2, 7, 6}, torch::kDouble);
  const at::Tensor gate = at::matmul(x, layer->gate_up.narrow(0, 0, 5).t());
  const at::Tensor up = at::matmul(x, layer->gate_up.narrow(0, 5, 5).t());
  CHECK(test::difference(layer(x), at::matmul(at::silu(gate) * up, layer->down.t())) < 1e-12);
}

TEST_CASE("FeedForward and RMSNorm name their parameters") {
  FeedForward layer(6, 5);
  const auto parameters = layer->named_parameters();
  CHECK(parameters["gate_up"].sizes() == at::IntArrayRef({10, 6}));
  CHECK(parameters["down"].sizes() == at::IntArrayRef({6, 5}));
  RMSNorm norm(4, 1e-5);
  CHECK(at::equal(norm->named_parameters()["weight"], torch::ones({4})));
}

TEST_CASE("RMSNorm divides by the root mean square") {
  RMSNorm norm(4, 0.0);
  const at::Tensor y = norm(torch::tensor({1.0f, 1.0f, 1.0f, 5.0f}));
  CHECK(test::difference(y, torch::tensor({1.0f, 1.0f, 1.0f, 5.0f}) / std::sqrt(7.0f)) < 1e-6);
}

}  // namespace
}  // namespace switchyard
