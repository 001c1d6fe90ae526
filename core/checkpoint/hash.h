#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace switchyard {

/// XXH3-128 of a stream of bytes (Collet, xxHash 0.8). Detects damage, not forgery.
class StreamingHash {
 public:
  StreamingHash();
  ~StreamingHash();
  StreamingHash(StreamingHash&&) noexcept;
  StreamingHash& operator=(StreamingHash&&) noexcept;

  void add(const void* data, size_t bytes);
  /// 32 lower-case hex digits of what was added so far, most significant first.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// XXH3-128 of `bytes`, 32 hex digits.
std::string hash_hex(std::string_view bytes);

/// XXH3-128 of the elements of a tensor in C order, as it would be stored: 32 hex digits. Strides
/// and device do not matter, dtype and shape are not part of it.
std::string hash_hex(const at::Tensor& tensor);

}  // namespace switchyard
