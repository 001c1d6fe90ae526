#include "core/nn/recompute.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>

namespace switchyard {
namespace {

struct Result {
  at::Tensor loss, input_gradient;
  std::vector<at::Tensor> parameter_gradients;
};

// Two layers over one weight; the second output needs no gradient, the third is of integers.
Result run(bool forgetting, bool input_needs_gradient) {
  torch::manual_seed(1);
  torch::nn::Linear layer(5, 5);
  layer->to(torch::kDouble);
  at::Tensor x = torch::randn({7, 5}, torch::kDouble).requires_grad_(input_needs_gradient);
  const RecomputedFunction fn = [layer](const std::vector<at::Tensor>& in) mutable {
    const at::Tensor y = torch::tanh(layer(in[0]));
    return std::vector<at::Tensor>{torch::tanh(layer(y)), y.detach() * 2, y.argmax(1)};
  };
  const auto outputs = forgetting ? recompute(fn, {x}) : fn({x});
  Result result;
  result.loss = outputs[0].square().sum() + outputs[2].sum();
  result.loss.backward();
  result.input_gradient = x.grad();
  for (const auto& parameter : layer->parameters())
    result.parameter_gradients.push_back(parameter.grad());
  return result;
}

TEST_CASE("recompute gives the loss and gradients of a plain pass") {
  const bool input_needs_gradient = GENERATE(true, false);
  const Result plain = run(false, input_needs_gradient), again = run(true, input_needs_gradient);
  CHECK(at::equal(plain.loss, again.loss));
  CHECK(again.input_gradient.defined() == input_needs_gradient);
  if (input_needs_gradient) CHECK(at::equal(plain.input_gradient, again.input_gradient));
  for (size_t i = 0; i < plain.parameter_gradients.size(); ++i)
    CHECK(at::equal(plain.parameter_gradients[i], again.parameter_gradients[i]));
}

TEST_CASE("recompute adds into gradients that are already there") {
  const at::Tensor weight = torch::full({3}, 2.0).requires_grad_();
  const auto fn = [&](const std::vector<at::Tensor>& in) {
    return std::vector<at::Tensor>{in[0] * weight};
  };
  at::Tensor flat = torch::ones({3});
  weight.mutable_grad() = flat.view({3});
  recompute(fn, {torch::full({3}, 5.0)})[0].sum().backward();
  CHECK(at::equal(flat, torch::full({3}, 6.0)));
}

TEST_CASE("recompute runs fn once forward and once backward, and once without gradients") {
  int calls = 0;
  const auto fn = [&](const std::vector<at::Tensor>& in) {
    ++calls;
    return std::vector<at::Tensor>{in[0].exp()};
  };
  const auto outputs = recompute(fn, {torch::ones({2}).requires_grad_()});
  CHECK(calls == 1);
  outputs[0].sum().backward();
  CHECK(calls == 2);
  const torch::NoGradGuard no_grad;
  CHECK_FALSE(recompute(fn, {torch::ones({2})})[0].requires_grad());
  CHECK(calls == 3);
}

TEST_CASE("recompute works inside recompute") {
  const at::Tensor weight = torch::full({2}, 0.5).requires_grad_();
  const RecomputedFunction inner = [&](const std::vector<at::Tensor>& in) {
    return std::vector<at::Tensor>{torch::sin(in[0] * weight)};
  };
  const RecomputedFunction outer = [&](const std::vector<at::Tensor>& in) {
    return recompute(inner, {recompute(inner, in)[0]});
  };
  const at::Tensor x = torch::tensor({1.0f, 2.0f}).requires_grad_();
  inner({inner({x})[0]})[0].sum().backward();
  const at::Tensor expected = weight.grad().clone(), expected_x = x.grad().clone();
  weight.mutable_grad().zero_();
  x.mutable_grad().zero_();
  recompute(outer, {x})[0].sum().backward();
  CHECK(at::allclose(weight.grad(), expected));
  CHECK(at::allclose(x.grad(), expected_x));
}

}  // namespace
}  // namespace switchyard
