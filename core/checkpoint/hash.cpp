#include "core/checkpoint/hash.h"

#include <xxhash.h>

#include <new>

#include "core/base/error.h"
#include "core/checkpoint/tensor_bytes.h"

namespace switchyard {

struct StreamingHash::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

namespace {

std::string to_hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", static_cast<unsigned long long>(hash.high64),
                     static_cast<unsigned long long>(hash.low64));
}

}  // namespace

StreamingHash::StreamingHash() : state_(std::make_unique<State>()) {
  if (state_->xxh == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_->xxh);
}
StreamingHash::~StreamingHash() = default;
StreamingHash::StreamingHash(StreamingHash&&) noexcept = default;
StreamingHash& StreamingHash::operator=(StreamingHash&&) noexcept = default;

void StreamingHash::add(const void* data, size_t bytes) {
  if (bytes > 0) XXH3_128bits_update(state_->xxh, data, bytes);
}

std::string StreamingHash::hex() const {
  return to_hex(XXH3_128bits_digest(state_->xxh));
}

std::string hash_hex(std::string_view bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_hex(const at::Tensor& tensor) {
  const at::Tensor packed = packed_on_host(tensor);
  return hash_hex(bytes_of(packed));
}

}  // namespace switchyard
