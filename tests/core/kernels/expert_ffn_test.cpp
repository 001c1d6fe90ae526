#include "core/kernels/expert_ffn.h"

#include <ATen/ATen.h>
#include <torch/autograd.h>

#include <catch2/catch.hpp>

#include "core/kernels/rows.h"
#include "tests/core/kernels/compare.h"

namespace switchyard {
namespace {

struct Shape {
  int64_t U, D, F, experts, K;
  bool all_on_last = false;
};

// Among them experts without rows, and one that gets all.
const std::vector<Shape> kOddShapes = {
    {0, 4, 3, 2, 1},     {1, 5, 3, 1, 1},          {1, 1, 1, 7, 2},      {7, 5, 3, 4, 4},
    {131, 17, 13, 5, 3}, {523, 8, 11, 3, 1, true}, {2, 300, 270, 31, 2}, {3001, 8, 4, 5, 3}};

/// While it lives, LibTorch fills what nobody has written yet with NaN, or the largest integer.
class FilledMemory {
 public:
  FilledMemory() {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
    at::globalContext().setDeterministicFillUninitializedMemory(true);
  }
  ~FilledMemory() {
    at::globalContext().setDeterministicAlgorithms(algorithms_, warn_only_);
    at::globalContext().setDeterministicFillUninitializedMemory(fill_);
  }
  FilledMemory(const FilledMemory&) = delete;
  FilledMemory& operator=(const FilledMemory&) = delete;

 private:
  const bool algorithms_ = at::globalContext().deterministicAlgorithms();
  const bool warn_only_ = at::globalContext().deterministicAlgorithmsWarnOnly();
  const bool fill_ = at::globalContext().deterministicFillUninitializedMemory();
};

// A layer's worth of inputs: x, row weights, both matrices; and the rows they belong to.
struct Case {
  ExpertRows rows;
  std::vector<at::Tensor> inputs;
};

Case make_case(const Shape& shape, at::ScalarType dtype) {
  at::manual_seed(3);
  at::Tensor ids = std::get<1>(at::rand({shape.U, shape.experts}).sort(1)).narrow(1, 0, shape.K);
  if (shape.all_on_last) ids = at::full({shape.U, 1}, shape.experts - 1, at::kLong);
  const RowPlan plan = plan_rows(ids, at::rand(ids.sizes()).lt(0.9), shape.experts);
  Case result;
  result.rows = {plan.row_token_R, at::Tensor(), plan.offsets_E};
  result.inputs = {at::randn({shape.U, shape.D}, test::of(dtype)),
                   at::rand({plan.row_token_R.size(0)}, test::of(dtype)),
                   at::randn({shape.experts, 2 * shape.F, shape.D}, test::of(dtype)) * 0.3,
                   at::randn({shape.experts, shape.D, shape.F}, test::of(dtype)) * 0.3};
  return result;
}

template <class F>
test::Operation operation(const ExpertRows& rows, const F& ffn) {
  return [rows, ffn](const std::vector<at::Tensor>& in) {
    return ffn(in[0], ExpertRows{rows.row_token_R, in[1], rows.offsets_e},
               ExpertWeights{in[2], in[3], false});
  };
}

at::Tensor row_by_row(const Case& c) {
  at::Tensor y = at::zeros_like(c.inputs[0]);
  const int64_t F = c.inputs[3].size(2);
  for (size_t j = 0; j + 1 < c.rows.offsets_e.size(); ++j)
    for (int64_t r = c.rows.offsets_e[j]; r < c.rows.offsets_e[j + 1]; ++r) {
      const int64_t u = c.rows.row_token_R[r].item<int64_t>(), e = static_cast<int64_t>(j);
      const at::Tensor gate_up = at::mv(c.inputs[2][e], c.inputs[0][u]);
      const at::Tensor gate = gate_up.narrow(0, 0, F), up = gate_up.narrow(0, F, F);
      y[u] += c.inputs[1][r] * at::mv(c.inputs[3][e], gate / (1 + (-gate).exp()) * up);
    }
  return y;
}

TEST_CASE("expert_ffn sums each token's experts, weighted") {
  const Case c = make_case({29, 6, 5, 4, 2}, at::kDouble);
  const test::Operation fast = operation(c.rows, expert_ffn);
  CHECK(test::difference(fast(c.inputs), row_by_row(c)) < 1e-13);
  CHECK(test::difference(operation(c.rows, reference::expert_ffn)(c.inputs), row_by_row(c)) <
        1e-13);
}

TEST_CASE("expert_ffn agrees with plain ATen in value and gradients on odd shapes") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const Shape shape = GENERATE(from_range(kOddShapes));
  const Case c = make_case(shape, dtype);
  CAPTURE(shape.U, shape.D, shape.F, shape.experts, shape.K);
  const auto plain = operation(c.rows, reference::expert_ffn);
  for (const auto& fast : {operation(c.rows, expert_ffn), operation(c.rows, grouped::expert_ffn)})
    CHECK(test::disagreement(fast, plain, c.inputs) < test::tolerance(dtype) * 5);
}

TEST_CASE("traps: uninitialised rows of a grouped GEMM never reach a result") {
  {
    const FilledMemory filled;
    REQUIRE(at::empty({5}, test::of(at::kFloat)).isnan().all().item<bool>());
    REQUIRE(at::empty({5}, test::of(at::kDouble)).isnan().all().item<bool>());
  }
  test::Largest worst;
  for (const auto dtype : {at::kFloat, at::kDouble})
    for (const Shape& shape : kOddShapes) {
      CAPTURE(dtype, shape.U, shape.D, shape.F, shape.experts, shape.K);
      const Case c = make_case(shape, dtype);
      for (const auto& ffn :
           {operation(c.rows, expert_ffn), operation(c.rows, grouped::expert_ffn)}) {
        const auto plain = test::value_and_gradients(ffn, c.inputs);
        const FilledMemory filled;
        const auto poisoned = test::value_and_gradients(ffn, c.inputs);
        for (size_t i = 0; i < plain.size(); ++i) {
          const double here = test::difference(plain[i], poisoned[i]);
          CHECK(here == 0);
          worst.see(here);
        }
      }
    }
  worst.print("traps: NaN in what a grouped GEMM leaves unwritten");
}

TEST_CASE("expert_ffn's gradients are those of finite differences") {
  const Case c = make_case({5, 3, 2, 3, 2}, at::kDouble);
  CHECK(test::gradient_error(operation(c.rows, expert_ffn), c.inputs) < 1e-7);
}

TEST_CASE("expert_ffn adds weight gradients into .grad when asked") {
  const Case c = make_case({37, 5, 3, 4, 2}, at::kDouble);
  const auto plain = test::value_and_gradients(operation(c.rows, expert_ffn), c.inputs);
  at::Tensor flat = at::ones({c.inputs[2].numel() + c.inputs[3].numel()}, test::of(at::kDouble));
  at::Tensor gate_up = c.inputs[2].clone().requires_grad_();
  at::Tensor down = c.inputs[3].clone().requires_grad_();
  gate_up.mutable_grad() = flat.narrow(0, 0, gate_up.numel()).view(gate_up.sizes());
  down.mutable_grad() = flat.narrow(0, gate_up.numel(), down.numel()).view(down.sizes());
  const ExpertRows rows{c.rows.row_token_R, c.inputs[1], c.rows.offsets_e};
  const at::Tensor y = expert_ffn(c.inputs[0], rows, {gate_up, down, true});
  const at::Tensor probe = at::arange(y.numel(), test::of(at::kDouble)).mul_(0.7).sin_();
  (y * probe.view(y.sizes())).sum().backward();
  CHECK(test::difference(flat.narrow(0, 0, gate_up.numel()).view(gate_up.sizes()), plain[3] + 1) <
        1e-12);
  CHECK(test::difference(flat.narrow(0, gate_up.numel(), down.numel()).view(down.sizes()),
                         plain[4] + 1) < 1e-12);
}

TEST_CASE("expert_ffn without a .grad returns weight gradients through autograd") {
  const Case c = make_case({11, 4, 3, 2, 1}, at::kDouble);
  const auto accumulating = [&](const std::vector<at::Tensor>& in) {
    return expert_ffn(in[0], {c.rows.row_token_R, in[1], c.rows.offsets_e}, {in[2], in[3], true});
  };
  CHECK(test::disagreement(accumulating, operation(c.rows, expert_ffn), c.inputs) == 0);
}

TEST_CASE("expert_ffn gives the same bits for any number of threads") {
  const Case c = make_case({600, 24, 16, 3, 2}, at::kFloat);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = test::value_and_gradients(operation(c.rows, expert_ffn), c.inputs);
  at::set_num_threads(2);
  const auto two = test::value_and_gradients(operation(c.rows, expert_ffn), c.inputs);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));
}

TEST_CASE("expert_ffn takes bf16 tokens with fp32 weights and gives fp32 weight gradients") {
  const Case c = make_case({64, 16, 8, 4, 2}, at::kFloat);
  at::Tensor gate_up = c.inputs[2].clone().requires_grad_();
  at::Tensor x = c.inputs[0].to(at::kBFloat16).requires_grad_();
  const ExpertRows rows{c.rows.row_token_R, c.inputs[1], c.rows.offsets_e};
  const at::Tensor y = expert_ffn(x, rows, {gate_up, c.inputs[3], true});
  y.sum().backward();
  CHECK(y.scalar_type() == at::kBFloat16);
  CHECK(x.grad().scalar_type() == at::kBFloat16);
  CHECK(gate_up.grad().scalar_type() == at::kFloat);
  const at::Tensor wide = operation(c.rows, expert_ffn)(c.inputs);
  CHECK(test::difference(y, wide) < 0.03 * wide.abs().max().item<double>());
}

}  // namespace
}  // namespace switchyard
