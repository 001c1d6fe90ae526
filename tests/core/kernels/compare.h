#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

#include "tests/support/largest.h"

namespace switchyard::test {

inline at::TensorOptions of(at::ScalarType dtype) {
  return at::TensorOptions().dtype(dtype);
}

/// Largest |a − b|; infinite where shapes differ or a value is not finite in one of them.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  if (a.numel() == 0) return 0;
  return or_infinite(
      (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>());
}

/// What an operation gives: its value, then the gradients of Σ value ⊙ probe by the inputs.
using Operation = std::function<at::Tensor(const std::vector<at::Tensor>&)>;
inline std::vector<at::Tensor> value_and_gradients(const Operation& operation,
                                                   std::vector<at::Tensor> inputs) {
  for (at::Tensor& input : inputs) input = input.detach().clone().requires_grad_();
  const at::Tensor value = operation(inputs);
  at::Tensor probe = at::arange(value.numel(), of(at::kDouble)).mul_(0.7).sin_();
  (value * probe.to(value.scalar_type()).view(value.sizes())).sum().backward();
  std::vector<at::Tensor> all{value.detach()};
  for (const at::Tensor& input : inputs)
    all.push_back(input.grad().defined() ? input.grad() : at::zeros_like(input));
  return all;
}

/// Largest difference between two operations in value and gradients, relative to the second's size.
inline double disagreement(const Operation& a, const Operation& b,
                           const std::vector<at::Tensor>& inputs) {
  const auto x = value_and_gradients(a, inputs), y = value_and_gradients(b, inputs);
  Largest worst;
  for (size_t i = 0; i < x.size(); ++i) {
    const double scale = y[i].numel() ? 1 + y[i].abs().max().item<double>() : 1;
    worst.see(difference(x[i], y[i]) / scale);
  }
  return worst.value();
}

/// Largest |analytic − central difference| of Σ value ⊙ probe over all elements of fp64 inputs.
inline double gradient_error(const Operation& operation, std::vector<at::Tensor> inputs) {
  const auto analytic = value_and_gradients(operation, inputs);
  const auto loss = [&] {
    const at::Tensor value = operation(inputs);
    const at::Tensor probe = at::arange(value.numel(), of(at::kDouble)).mul_(0.7).sin_();
    return (value * probe.view(value.sizes())).sum().item<double>();
  };
  const double h = 1e-6;
  Largest worst;
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = inputs[i].detach().clone();
    double* data = inputs[i].data_ptr<double>();
    const double* gradient = analytic[i + 1].const_data_ptr<double>();
    for (int64_t j = 0; j < inputs[i].numel(); ++j) {
      const double kept = data[j];
      data[j] = kept + h;
      const double up = loss();
      data[j] = kept - h;
      const double down = loss();
      data[j] = kept;
      worst.see((up - down) / (2 * h) - gradient[j]);
    }
  }
  return worst.value();
}

inline double tolerance(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-12 : 2e-5;
}

}  // namespace switchyard::test
