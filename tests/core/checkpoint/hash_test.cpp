#include "core/checkpoint/hash.h"

#include <ATen/ops/arange.h>

#include <catch2/catch.hpp>

using namespace switchyard;

TEST_CASE("XXH3-128 gives the digits that xxhsum prints") {
  // xxhsum -H2 (xxHash 0.8.1) of the empty input and of "a".
  CHECK(hash_hex("") == "99aa06d3014798d86001c324468d497f");
  CHECK(hash_hex("a") == "a96faf705af16834e6c632b61e964e1f");
}

TEST_CASE("A stream has the hash of its bytes however it is cut") {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes.push_back(static_cast<char>(i * 31 + i / 7));
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{256}, size_t{4999}, size_t{5000}}) {
    StreamingHash hash;
    for (size_t i = 0; i < bytes.size(); i += piece)
      hash.add(bytes.data() + i, std::min(piece, bytes.size() - i));
    CHECK(hash.hex() == hash_hex(bytes));
  }
}

TEST_CASE("A tensor's hash is that of its elements in C order") {
  const at::Tensor whole = at::arange(12, at::kFloat).view({3, 4});
  const at::Tensor turned = whole.t();
  CHECK(hash_hex(turned) == hash_hex(turned.contiguous()));
  CHECK(hash_hex(turned) != hash_hex(whole));
  CHECK(hash_hex(whole.narrow(0, 1, 1)) == hash_hex(at::arange(4, 8, at::kFloat)));
}
