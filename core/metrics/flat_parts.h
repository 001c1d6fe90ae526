#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace switchyard {

/// Takes views off the front of a flat tensor, one after the other: sums of many layers in one
/// tensor, so that one collective carries them all.
class FlatParts {
 public:
  explicit FlatParts(const at::Tensor& flat) : flat_(flat) {}

  at::Tensor take(at::IntArrayRef shape) {
    const int64_t size = c10::multiply_integers(shape);
    const int64_t from = next_;
    next_ += size;
    return flat_.narrow(0, from, size).view(shape);
  }

 private:
  const at::Tensor& flat_;
  int64_t next_ = 0;
};

/// Copies a contiguous host tensor.
template <class T>
std::vector<T> values_of(const at::Tensor& tensor) {
  const auto* from = tensor.const_data_ptr<T>();
  return {from, from + tensor.numel()};
}

/// The rows of a contiguous host tensor of two axes.
template <class T>
std::vector<std::vector<T>> rows_of(const at::Tensor& table) {
  std::vector<std::vector<T>> rows;
  for (int64_t i = 0; i < table.size(0); ++i) rows.push_back(values_of<T>(table[i]));
  return rows;
}

}  // namespace switchyard
