#include "core/kernels/rms_norm.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

const test::Operation kFast = [](const auto& in) { return rms_norm(in[0], in[1], 1e-5); };

TEST_CASE("rms_norm agrees with plain ATen and with LibTorch's own in value and gradients") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto [T, D] = GENERATE(table<int64_t, int64_t>({{0, 3}, {1, 1}, {7, 13}, {211, 67}}));
  at::manual_seed(5);
  const std::vector<at::Tensor> inputs{at::randn({T, D}, test::of(dtype)) * 3,
                                       at::randn({D}, test::of(dtype))};
  const auto plain = [](const auto& in) { return reference::rms_norm(in[0], in[1], 1e-5); };
  const auto torch_own = [](const auto& in) {
    return at::rms_norm(in[0], in[1].sizes(), in[1], 1e-5);
  };
  CHECK(test::disagreement(kFast, plain, inputs) < test::tolerance(dtype));
  CHECK(test::disagreement(kFast, torch_own, inputs) < test::tolerance(dtype));
}

TEST_CASE("rms_norm's gradients are those of finite differences") {
  at::manual_seed(6);
  CHECK(test::gradient_error(kFast, {at::randn({2, 3, 5}, test::of(at::kDouble)),
                                     at::randn({5}, test::of(at::kDouble))}) < 1e-7);
}

TEST_CASE("rms_norm gives the same bits for any number of threads") {
  const std::vector<at::Tensor> inputs{at::randn({517, 32}), at::randn({32})};
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = test::value_and_gradients(kFast, inputs);
  at::set_num_threads(2);
  const auto two = test::value_and_gradients(kFast, inputs);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

TEST_CASE("rms_norm of bf16 computes in fp32 and returns bf16") {
  const at::Tensor x = at::randn({9, 32}).to(at::kBFloat16);
  const at::Tensor y = rms_norm(x, at::ones({32}), 1e-5);
  CHECK(y.scalar_type() == at::kBFloat16);
  CHECK(at::equal(y, rms_norm(x.to(at::kFloat), at::ones({32}), 1e-5).to(at::kBFloat16)));
}

}  // namespace
}  // namespace switchyard
