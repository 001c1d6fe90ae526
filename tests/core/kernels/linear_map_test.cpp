#include "core/kernels/linear_map.h"

#include <ATen/ATen.h>
#include <ATen/Version.h>

#include <catch2/catch.hpp>

#include "core/kernels/cpu/matrix.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

const test::Operation kFast = [](const auto& in) { return linear_map(in[0], in[1]); };
const test::Operation kPlain = [](const auto& in) { return reference::linear_map(in[0], in[1]); };

TEST_CASE("linear_map agrees with plain ATen in value and gradients on odd shapes") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const auto [T, K, N] = GENERATE(table<int64_t, int64_t, int64_t>(
      {{0, 3, 2}, {1, 1, 1}, {7, 13, 5}, {131, 67, 259}, {5, 1100, 3}, {1203, 9, 1031}}));
  at::manual_seed(14);
  const std::vector<at::Tensor> inputs{at::randn({T, K}, test::of(dtype)),
                                       at::randn({N, K}, test::of(dtype))};
  CHECK(test::disagreement(kFast, kPlain, inputs) < test::tolerance(dtype) * 2);
}

TEST_CASE("linear_map takes any number of leading dims and strided inputs") {
  at::manual_seed(15);
  const at::Tensor x = at::randn({4, 6, 2, 3}).permute({1, 2, 0, 3}), weight = at::randn({5, 3});
  CHECK(test::disagreement(kFast, kPlain, {x, weight}) < 1e-5);
  const at::Tensor turned = at::randn({3, 5}).t();
  CHECK(test::difference(linear_map(x, turned), reference::linear_map(x, turned)) < 1e-5);
}

TEST_CASE("linear_map gives a row the same bits in a batch of any size, with AVX-512") {
  if (at::get_cpu_capability() != "AVX512") {
    WARN("not checked: this processor has no AVX-512");
    return;
  }
  at::manual_seed(16);
  const at::Tensor x = at::randn({300, 64}), weight = at::randn({96, 64});
  const at::Tensor all = linear_map(x, weight);
  for (const int64_t count : {1, 2, 13, 64, 65, 299})
    CHECK(at::equal(linear_map(x.narrow(0, 0, count), weight), all.narrow(0, 0, count)));
}

TEST_CASE("transpose turns matrices of any size") {
  for (const int64_t rows : {1, 7, 8, 23})
    for (const int64_t columns : {1, 8, 9, 40}) {
      const at::Tensor in = at::randn({rows, columns});
      at::Tensor out = at::empty({columns, rows});
      transpose(dense(in.const_data_ptr<float>(), rows, columns),
                dense(out.data_ptr<float>(), columns, rows));
      CHECK(at::equal(out, in.t()));
    }
}

}  // namespace
}  // namespace switchyard
