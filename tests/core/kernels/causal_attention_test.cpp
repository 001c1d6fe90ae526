#include "core/kernels/causal_attention.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

const test::Operation kFast = [](const auto& in) { return causal_attention(in[0], in[1], in[2]); };

at::Tensor by_mask(const std::vector<at::Tensor>& in) {
  const int64_t L = in[0].size(1), group = in[0].size(2) / in[1].size(2);
  const at::Tensor later = at::ones({L, L}, at::kBool).triu(1);
  const at::Tensor k = in[1].repeat_interleave(group, 2), v = in[2].repeat_interleave(group, 2);
  const at::Tensor scores =
      at::einsum("blhc,bmhc->bhlm", {in[0], k}) / std::sqrt(static_cast<double>(in[0].size(3)));
  const at::Tensor p = at::softmax(scores.masked_fill(later, -INFINITY), -1);
  return at::einsum("bhlm,bmhc->blhc", {p, v});
}

std::vector<at::Tensor> random_inputs(at::IntArrayRef q, int64_t key_heads, at::ScalarType dtype) {
  at::manual_seed(17);
  const std::vector<int64_t> k{q[0], q[1], key_heads, q[3]};
  return {at::randn(q, test::of(dtype)) * 2, at::randn(k, test::of(dtype)),
          at::randn(k, test::of(dtype))};
}

TEST_CASE("causal_attention agrees with a masked softmax in value and gradients") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto [L, H, G, C] = GENERATE(table<int64_t, int64_t, int64_t, int64_t>(
      {{1, 1, 1, 1}, {5, 4, 2, 3}, {64, 3, 1, 8}, {67, 2, 2, 16}, {200, 6, 3, 5}}));
  const auto inputs = random_inputs({3, L, H, C}, G, dtype);
  CHECK(test::disagreement(kFast, by_mask, inputs) < test::tolerance(dtype));
}

TEST_CASE("causal_attention agrees with LibTorch's own") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto plain = [](const auto& in) {
    return reference::causal_attention(in[0], in[1], in[2]);
  };
  const int64_t B = GENERATE(0, 2);
  CHECK(test::disagreement(kFast, plain, random_inputs({B, 131, 4, 16}, 2, dtype)) <
        test::tolerance(dtype));
}

TEST_CASE("causal_attention's gradients are those of finite differences") {
  CHECK(test::gradient_error(kFast, random_inputs({1, 4, 2, 3}, 1, at::kDouble)) < 1e-7);
}

TEST_CASE("causal_attention gives the same bits for any number of threads") {
  const auto inputs = random_inputs({2, 100, 4, 8}, 2, at::kFloat);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = test::value_and_gradients(kFast, inputs);
  at::set_num_threads(2);
  const auto two = test::value_and_gradients(kFast, inputs);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

TEST_CASE("causal_attention stays exact for large scores") {
  auto inputs = random_inputs({1, 70, 1, 4}, 1, at::kDouble);
  inputs[0] *= 300;
  CHECK(test::disagreement(kFast, by_mask, inputs) < 1e-10);
}

}  // namespace
}  // namespace switchyard
